package proxy

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime/debug"
	"strings"
	"sync"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/proxy/canonical"
	"github.com/ssogate/ssogate/session"
)

// answer is what asking again said. The zero value is no answer.
type answer int

const (
	unknown answer = iota
	allowed
	denied
)

// again is what it takes to decide anew about a running exchange.
type again struct {
	g    *Gate
	q    canonical.Request
	addr netip.Addr // of the client
	// What [Sessions] reads of a request.
	cookies []string
	host    string
	// Instead, where a bearer said who asks; the bearer itself is not kept.
	machine *session.Principal
	issuer  Issuer
}

// slim lets go of what is not to be kept for as long as a WebSocket lives: cookies that
// are not ours.
func (a *again) slim() {
	var ours []string
	if a.machine == nil {
		r := http.Request{Header: http.Header{"Cookie": a.cookies}}
		for _, c := range r.Cookies() {
			if a.g != nil && a.g.o.Sessions.IsOurCookie(c.Name) {
				ours = append(ours, c.Name+"="+c.Value)
			}
		}
	}
	a.cookies = nil
	if len(ours) > 0 {
		a.cookies = []string{strings.Join(ours, "; ")}
	}
}

// route is where today's table sends the exchange, or nil.
func (a *again) route() *Route {
	st := a.g.routes.Load().at(a.q.Host)
	if st == nil {
		return nil
	}
	rt, near := st.find(a.q)
	if near || rt == nil || !rt.allows(a.q.Method) || rt.tolerates(a.q) != nil {
		return nil
	}
	return rt
}

// ask decides anew, with today's route. It runs on a goroutine of its own, where a
// panic would end the process (fault 25): it is no answer instead.
func (a *again) ask(ctx context.Context, rt *Route) (said answer) {
	defer func() {
		if v := recover(); v != nil {
			said = unknown
			// Not the value: it is often the input that caused it (L01).
			a.g.o.Log.LogAttrs(ctx, slog.LevelError, "panic", slog.String("while", "asking again"), slog.String("stack", string(debug.Stack())))
		}
	}()
	f := a.g.factsOf(a.addr)
	d, _ := rt.before(a.q, f)
	switch d.Verdict {
	case Public:
		return allowed
	case NeedSession:
	default:
		return denied
	}
	p, err := a.who(ctx, rt)
	without := withoutSession
	if a.machine != nil {
		without = withoutBearer
	}
	switch {
	case err != nil && without(d, err).Verdict == Unavailable:
		return unknown
	case err != nil, rt.decide(a.q, p, f).Verdict != Admit:
		return denied
	}
	return allowed
}

func (a *again) who(ctx context.Context, rt *Route) (*session.Principal, error) {
	if a.machine != nil {
		return a.stillMachine(ctx, rt)
	}
	r := &http.Request{Host: a.host, Header: http.Header{"Cookie": a.cookies}}
	// The request's own context may be ending.
	return a.g.o.Sessions.Again(ctx, r.WithContext(ctx))
}

// asking is a copy of what to ask with; the flight may turn into a tunnel meanwhile.
func (f *flight) asking() again {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.again
}

// maxAsking bounds how many questions a recheck puts at once: each may cost a
// read of the stores.
const maxAsking = 8

// refused keeps the flights whose route now refuses their person. One question
// is put per session and route: the route of today, which two paths that shared
// one yesterday need not share, nor the rule of it. Where it cannot be answered, streams count as
// refused (nothing would ever ask again), other requests may finish.
func refused(ctx context.Context, fs []*flight) []*flight {
	type question struct {
		session secret.Hash
		route   *Route
		rules   ruling
		addr    netip.Addr
	}
	answers := map[question]*answer{}
	asked := make([]*answer, len(fs))
	var wg sync.WaitGroup
	slots := make(chan struct{}, maxAsking)
	for i, f := range fs {
		a := f.asking()
		q := question{session: f.p.Session}
		if a.g != nil {
			q.route = a.route()
		}
		if q.route != nil {
			q.rules, q.addr = q.route.rules.ruling(a.q), a.addr
		}
		if asked[i] = answers[q]; asked[i] != nil {
			continue
		}
		asked[i] = new(answer)
		answers[q] = asked[i]
		if q.route == nil {
			*asked[i] = denied // nothing serves it any more
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			*asked[i] = a.ask(ctx, q.route)
		})
	}
	wg.Wait()
	var out []*flight
	for i, f := range fs {
		if a := *asked[i]; a == denied || a == unknown && f.isStream() {
			out = append(out, f)
		}
	}
	return out
}
