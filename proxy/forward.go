package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/ssogate/ssogate/internal/web"
	"github.com/ssogate/ssogate/proxy/upstream"
)

// forward sends the registered request to the application and streams the
// answer. It panics with http.ErrAbortHandler when the answer broke after it had
// begun, so that the client sees an aborted transfer and never a clean end
// (fault 14).
func (x *exchange) forward(r *http.Request) {
	tunneled := false
	defer func() {
		if !tunneled {
			x.leave()
		}
	}()
	if r.Body != nil && r.Body != http.NoBody {
		x.body.ReadCloser, x.body.limit = r.Body, x.rt.limit
		r.Body = &x.body // r is ours: enter copied it
		if r.ProtoMajor == 1 {
			// An application may answer before it has read everything (a refused upload):
			// net/http would first read the rest, which may never come.
			x.body.rc = http.NewResponseController(x.ResponseWriter)
			_ = x.body.rc.EnableFullDuplex()
		}
	}
	if err := x.send(r); err != nil {
		x.g.upstreamFailed(x, r, err)
		return
	}
	if x.app != nil {
		tunneled = x.tunnel(r)
	}
}

// tunnel completes an upgrade. When it answers true, pumps own the exchange, nothing
// of it may be touched any more, and the handler returns: an idle WebSocket keeps no
// goroutine of net/http.
func (x *exchange) tunnel(r *http.Request) bool {
	t, err := x.flight.hijack(r.Context(), x.app)
	if err != nil {
		_ = x.app.Close()
		x.g.upstreamFailed(x, r, err)
		return false
	}
	// The application's fields beside what was set before it was asked.
	h := x.Header()
	for name, v := range x.res.Header {
		h[name] = append(h[name], v...)
	}
	var head bytes.Buffer
	res := *x.res
	res.Header, res.Body = h, nil
	_ = res.Write(&head)
	// The exchange stays with its flight; what hangs on it does not.
	x.ctx.finish()
	x.ctx.Context, x.ctx.stop = context.Background(), nil
	x.ResponseWriter, x.res, x.app, x.body.ReadCloser = nil, nil, nil, nil
	x.told, x.token, x.cookies[0] = nil, nil, ""
	t.start(head.Bytes())
	return true
}

// clientAddr is what internal/web decided, or the socket's address outside of it.
func clientAddr(r *http.Request) netip.Addr {
	if a := web.ClientAddr(r.Context()); a.IsValid() {
		return a
	}
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

var (
	errUnasked  = errors.New("proxy: application switched protocols unasked")
	errNotStill = errors.New("proxy: principal went stale before a stream began")
)

// received looks at the application's answer before anything of it is passed on.
func (x *exchange) received(res *http.Response) error {
	stripSetCookies(res.Header, x.g.o.Sessions.IsOurCookie)
	if a := x.rt.intro.assertion; a.Algorithm != "" {
		delete(res.Header, http.CanonicalHeaderKey(a.Header)) // an echo of it is for no page's scripts
	}
	if x.p != nil && !x.rt.shared {
		keepPrivate(res.Header)
	}
	x.mergeCORS(res.Header)
	if res.StatusCode == http.StatusSwitchingProtocols {
		app, ok := res.Body.(io.ReadWriteCloser)
		if !ok || !x.webSocket || !strings.EqualFold(res.Header.Get("Upgrade"), "websocket") {
			return errUnasked // a tunnel only where one was asked for and decided about
		}
		if err := x.becomeStream(); err != nil {
			return err
		}
		x.res, x.app = res, app
		return nil
	}
	removeHopByHop(res.Header)
	if x.rt.rewrite != (rewrite{}) {
		x.mapBack(res.Header)
	}
	x.rt.dress(res.Header, x.st)
	if isEventStream(res.Header) {
		return x.becomeStream()
	}
	return nil
}

// becomeStream re-checks at the moment a request turns into a stream (C10): a
// recheck that came earlier let it pass as a short request. It is marked first:
// a revocation is either seen here, or finds a stream.
func (x *exchange) becomeStream() error {
	if err := x.flight.becomeStream(); err != nil {
		return err
	}
	x.flight.lease.Stream()
	if x.p != nil && !x.g.o.Sessions.Still(x.p) {
		return errNotStill
	}
	return nil
}

func isEventStream(h http.Header) bool {
	ct, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(ct), "text/event-stream")
}

// upstreamFailed answers for an application that could not.
func (g *Gate) upstreamFailed(x *exchange, r *http.Request, err error) {
	if why := x.flight.cutCause(); why != nil {
		web.Annotate(r.Context(), "cut", why.reason)
		panic(http.ErrAbortHandler) // cut off: nothing is said any more
	}
	switch {
	case errors.Is(err, errNotStill), errors.Is(err, errDraining), errors.Is(err, errNoKey):
		g.refuse(x.ResponseWriter, r, x, Decision{Verdict: Unavailable, Rule: x.d.Rule, Reason: "stream_refused"}, x.p)
		return
	case errors.Is(err, errSignOut):
		g.signOutFailed(x, r, err)
		return
	case x.body.over():
		g.tooLarge(x.ResponseWriter, r, x.rt)
		return
	case x.body.broken():
		// The client's own body was malformed or ended early; the application
		// connection is already gone with it.
		g.malformedBody(x.ResponseWriter, r)
		return
	case r.Context().Err() != nil:
		panic(http.ErrAbortHandler) // the client has gone
	}
	fault := upstream.Classify(err)
	g.faulty(r.Context(), x.rt, "application did not answer", fault, err)
	g.applicationDown(x.ResponseWriter, r, x, fault)
}

// faulty counts and logs what went wrong behind us, bounded.
func (g *Gate) faulty(ctx context.Context, rt *Route, what string, fault upstream.Fault, err error) {
	g.metrics.faults.WithLabelValues(rt.name, string(fault)).Inc()
	web.Annotate(ctx, "fault", string(fault))
	if g.denials.mayLog(string(fault)) {
		g.o.Log.LogAttrs(ctx, slog.LevelWarn, what,
			slog.String("route", rt.name), slog.String("fault", string(fault)),
			slog.String("error", err.Error()), slog.String("request_id", web.RequestID(ctx)))
	}
}

// clientBody remembers whether reading the client's body failed, to tell a broken
// client from a broken application, and holds it to a limit. Transports read it on
// another goroutine than the one that asks.
type clientBody struct {
	io.ReadCloser
	limit int64                    // 0 = none
	rc    *http.ResponseController // HTTP/1 only

	mu   sync.Mutex
	eof  bool
	shut bool // by a transport: what a Read says from then on is our own doing
	n    int64
	err  error
}

var errBodyLimit = errors.New("proxy: request body over the route's limit")

func (b *clientBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	b.mu.Lock()
	defer b.mu.Unlock()
	b.n += int64(n)
	if b.limit > 0 && b.n > b.limit {
		// The application gets a broken upload, never the first part as if it were all.
		b.err = errBodyLimit
		return 0, errBodyLimit
	}
	switch {
	case errors.Is(err, io.EOF):
		b.eof = true
	case err != nil && !errors.Is(err, context.Canceled) && !b.shut:
		b.err = err
	}
	return n, err
}

// Close leaves a body open of which nothing was read: a transport closes it also when
// it could not even connect, and the next upstream still needs it. net/http closes it
// in any case when the handler returns.
func (b *clientBody) Close() error {
	if b.untouched() {
		return nil
	}
	b.mu.Lock()
	b.shut = true
	eof := b.eof
	b.mu.Unlock()
	if !eof && b.rc != nil {
		// net/http's Close waits for a Read that waits for the client. The connection is
		// of no use any more: its rest of a body will not be read.
		_ = b.rc.SetReadDeadline(time.Unix(1, 0))
	}
	return b.ReadCloser.Close()
}

func (b *clientBody) untouched() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.n == 0 && b.err == nil
}

func (b *clientBody) broken() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err != nil
}

func (b *clientBody) over() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return errors.Is(b.err, errBodyLimit)
}

var _ io.ReadCloser = (*clientBody)(nil)
