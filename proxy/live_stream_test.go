package proxy

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/coder/websocket"

	"github.com/ssogate/ssogate/internal/web"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
)

// A reload of the settings arrives as a recheck of all; a change of teams as one
// of several members. Both concern whom they name, also those who signed in after
// the row, because nobody is ended who is still allowed (C7, C10).
func TestRecheckOfManyAsksThoseItNames(t *testing.T) {
	for _, c := range []struct {
		name string
		row  member.Revocation
		want int // questions
	}{
		{"members", member.Revocation{Seq: 7, Kind: member.Recheck, Scope: member.ScopeMembers, Target: "m-ana m-nobody m-goo"}, 2},
		{"all", member.Revocation{Seq: 7, Kind: member.Recheck, Scope: member.ScopeAll}, 3},
	} {
		r := newRig(t)
		var open atomic.Int32
		r.app.handler = streaming(&open, nil)
		goo := principal("goo", member.Member{ID: "m-goo", Wish: true, Accepted: true})
		goo.Seq = 20
		r.sessions.by["goo"] = goo
		a, g := openStream(t, r, "ana"), openStream(t, r, "goo")
		openStream(t, r, "ben")
		before := r.sessions.calls
		r.live.Cut(t.Context(), c.row)
		if asked := r.sessions.calls - before; asked != c.want || r.inFlight() != 3 {
			t.Errorf("%s, benign: %d questions, %d of 3 streams left", c.name, asked, r.inFlight())
		}
		r.sessions.change(func() { r.sessions.errs["ana"], r.sessions.errs["goo"] = session.ErrMember, session.ErrMember })
		r.live.Cut(t.Context(), c.row)
		ended(t, a)
		ended(t, g)
		if r.inFlight() != 1 {
			t.Errorf("%s: %d left", c.name, r.inFlight())
		}
	}
}

// Two streams that shared a route yesterday may not share one today: the answer
// about one says nothing about the other.
func TestRecheckAsksAboutTheRouteOfToday(t *testing.T) {
	r := newRig(t)
	var open atomic.Int32
	r.app.handler = streaming(&open, nil)
	plain := openStream(t, r, "ana")
	c := r.dial()
	t.Cleanup(func() { _ = c.Close() })
	_, _ = io.WriteString(c, "GET /reports/live HTTP/1.1\r\nHost: "+appHost+"\r\n"+as("ana")+"\r\n\r\n")
	eventually(t, "both are open", func() bool { return open.Load() == 2 })
	routes, err := Compile([]RouteSpec{
		{Name: "app", Origins: []string{"https://" + appHost}, Upstream: r.up.URL},
		{Name: "reports", Origins: []string{"https://" + appHost}, PathPrefix: "/reports", Upstream: r.up.URL, Teams: []string{"finance"}},
	}, "https://sso.example.com")
	if err != nil {
		t.Fatal(err)
	}
	r.gate.SetRoutes(routes)
	r.live.Cut(t.Context(), member.Revocation{Kind: member.Recheck, Scope: member.ScopeAll})
	if r.inFlight() != 1 {
		t.Fatalf("%d left, want the one that needs no team", r.inFlight())
	}
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	ended(t, bufio.NewReader(c))
	_ = plain
}

// A WebSocket's request has long been let go when it is asked about again.
func TestRecheckOfAWebSocketAsksWithItsCookie(t *testing.T) {
	r := newRig(t)
	var open atomic.Int32
	r.app.handler = echo(&open)
	c := r.webSocket("ana")
	roundTrip(t, c, "hello")
	row := member.Revocation{Kind: member.Recheck, Scope: member.ScopeMember, Target: "m-ana"}
	before := r.sessions.calls
	r.live.Cut(t.Context(), row)
	if asked := r.sessions.calls - before; asked != 1 || r.inFlight() != 1 {
		t.Fatalf("benign: asked %d times, %d open", asked, r.inFlight())
	}
	roundTrip(t, c, "still allowed")
	r.sessions.change(func() { r.sessions.errs["ana"] = session.ErrMember })
	go r.live.Cut(t.Context(), row)
	closedWith(t, c, websocket.StatusPolicyViolation, "no longer allowed here")
}

// A request that is about to become a stream counts as one before it is looked at
// for the last time: no recheck can take it for a short request any more (C10).
func TestStreamIsMarkedBeforeItIsCheckedForTheLastTime(t *testing.T) {
	for _, ws := range []bool{false, true} {
		r := newRig(t)
		var open atomic.Int32
		s := &watching{fakeSessions: r.sessions, live: r.live}
		r.gate.o.Sessions = s
		if ws {
			r.app.handler = echo(&open)
			roundTrip(t, r.webSocket("ana"), "hello")
		} else {
			r.app.handler = streaming(&open, nil)
			openStream(t, r, "ana")
		}
		if s.calls.Load() != 2 || !s.marked.Load() {
			t.Errorf("websocket %t: checked %d times, marked at the last: %t", ws, s.calls.Load(), s.marked.Load())
		}
	}
}

// watching notes at each Still whether the flight is a stream.
type watching struct {
	*fakeSessions
	live   *Live
	calls  atomic.Int32
	marked atomic.Bool
}

func (w *watching) Still(p *session.Principal) bool {
	w.calls.Add(1)
	w.marked.Store(w.live.all()[0].isStream())
	return w.fakeSessions.Still(p)
}

// net/http's transport sends a request again when a kept connection turns out to
// be closed. One that was cut meanwhile stays unsent (C10: before a retry).
func TestGuaranteeCutRequestIsNotRetried(t *testing.T) {
	for _, cut := range []bool{false, true} {
		r := newRig(t)
		cutting := make(chan struct{})
		var n atomic.Int32
		r.app.handler = func(w http.ResponseWriter, q *http.Request) {
			if q.URL.Path != "/second" || n.Add(1) > 1 {
				_, _ = io.WriteString(w, "ok")
				return
			}
			c, _, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return
			}
			if cut {
				go func() {
					r.live.Cut(context.Background(), endMember("m-ana", 4))
					close(cutting)
				}()
				eventually(t, "it was cut", func() bool { fs := r.live.all(); return len(fs) == 0 || fs[0].cutCause() != nil })
			}
			_ = c.Close() // without an answer, as an application that closed a kept connection
		}
		cl := r.client()
		if _, err := cl.Get(r.server.URL + "/first"); err != nil {
			t.Fatal(err)
		}
		res, err := cl.Get(r.server.URL + "/second")
		switch {
		case cut && err == nil:
			t.Errorf("answered %d to somebody who was cut off", res.StatusCode)
		case !cut && (err != nil || res.StatusCode != 200):
			t.Errorf("benign: %v %v", res, err)
		}
		if cut {
			<-cutting
		}
		if got, want := n.Load(), map[bool]int32{false: 2, true: 1}[cut]; got != want {
			t.Errorf("cut %t: sent %d times, want %d", cut, got, want)
		}
	}
}

// Fault 19: while the node drains, a revocation still ends what it names: a stream
// that waits for its turn to be told to go away, and a request in flight.
func TestGuaranteeCutOffWorksWhileDraining(t *testing.T) {
	r := newRig(t)
	var open atomic.Int32
	hang, ws := make(chan struct{}), echo(&open)
	defer close(hang)
	r.app.handler = func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path == "/ws" {
			ws(w, q)
			return
		}
		<-hang
	}
	var anas, bens []*websocket.Conn
	for range 4 {
		anas, bens = append(anas, r.webSocket("ana")), append(bens, r.webSocket("ben"))
	}
	request := r.dial()
	t.Cleanup(func() { _ = request.Close() })
	_, _ = io.WriteString(request, "GET /slow HTTP/1.1\r\nHost: "+appHost+"\r\n"+as("ana")+"\r\n\r\n")
	eventually(t, "the request runs", func() bool { return len(r.app.requests()) == 9 })
	ctx, cancel := context.WithCancel(t.Context())
	down := make(chan struct{})
	go func() { r.live.Shutdown(ctx, time.Hour); close(down) }() // nearly all wait for their turn
	eventually(t, "the first is told to go away", func() bool {
		return slices.ContainsFunc(r.live.all(), func(f *flight) bool { return f.cutCause() != nil }) || r.inFlight() == 8
	})
	r.live.Cut(t.Context(), endMember("m-ana", 4))
	for _, c := range anas {
		if code := closeCode(t, c); code != websocket.StatusPolicyViolation && code != websocket.StatusGoingAway {
			t.Errorf("closed with %d", code)
		}
	}
	_ = request.SetReadDeadline(time.Now().Add(5 * time.Second))
	ended(t, bufio.NewReader(request))
	if n := r.inFlight(); n != 4 && n != 3 {
		t.Errorf("%d left, want the other's", n)
	}
	select {
	case <-down:
		t.Fatal("Shutdown returned while streams are open: the node would have deregistered")
	default:
	}
	cancel()
	<-down
	for _, c := range bens {
		if code := closeCode(t, c); code != websocket.StatusGoingAway {
			t.Errorf("another's was closed with %d", code)
		}
	}
	if r.inFlight() != 0 {
		t.Errorf("%d left", r.inFlight())
	}
}

func closeCode(t *testing.T, c *websocket.Conn) websocket.StatusCode {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for {
		if _, _, err := c.Read(ctx); err != nil {
			return websocket.CloseStatus(err)
		}
	}
}

// Fault 19: reconnects come spread over the time, not as one wave.
func TestShutdownIsSpreadEvenly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var at []time.Duration
		spreadOut(t.Context(), 1000, 10*time.Second, func(int) { at = append(at, time.Since(start)) })
		for i, d := range at {
			if due := time.Duration(i) * 10 * time.Millisecond; d < due-20*time.Millisecond || d > due+100*time.Millisecond {
				t.Fatalf("%d of 1000 went after %s", i, d)
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start, at = time.Now(), nil
		spreadOut(ctx, 1000, 10*time.Second, func(int) { at = append(at, time.Since(start)) })
		if len(at) != 1000 || at[999] != time.Second {
			t.Errorf("%d went, the last after %s: the rest goes when the time is over", len(at), at[len(at)-1])
		}
	})
}

func TestShutdownTakesARandomOrder(t *testing.T) {
	l, err := NewLive(LiveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	var got []int
	for i := range 100 {
		f := bareFlight(l, 1) // of one: those are listed in order
		f.stream = true
		f.ctx.Watch(&killed{func() { got = append(got, i); go f.leave() }})
		if err := l.enter(f); err != nil {
			t.Fatal(err)
		}
	}
	l.Shutdown(t.Context(), 0)
	if back := slices.Clone(got); len(got) != 100 || slices.IsSorted(got) || func() bool { slices.Reverse(back); return slices.IsSorted(back) }() {
		t.Errorf("%d in the order of their coming", len(got))
	}
}

type killed struct{ do func() }

func (k *killed) Kill() { k.do() }

// The access log has one record for a WebSocket, at its end, that says why it ended.
func TestWebSocketIsOneAccessRecord(t *testing.T) {
	r := newRig(t)
	var open atomic.Int32
	r.app.handler = echo(&open)
	roundTrip(t, r.webSocket("ana"), "hello")
	if log := r.log.String(); strings.Contains(log, "path=/ws") {
		t.Errorf("recorded before its end: %s", log)
	}
	r.live.Cut(t.Context(), endMember("m-ana", 4))
	log := r.log.String()
	if strings.Count(log, "path=/ws") != 1 || !strings.Contains(log, "status=101") || !strings.Contains(log, "cut=revoked") {
		t.Errorf("%s", log)
	}
}

// A cut between the decision and the 101: the client sees neither a 101 nor a
// close frame, and nothing is left behind.
func TestTunnelCutBeforeItsGreeting(t *testing.T) {
	l, err := NewLive(LiveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	f := bareFlight(l, 1)
	if err := l.enter(f); err != nil {
		t.Fatal(err)
	}
	client, server := net.Pipe()
	app, application := net.Pipe()
	f.tunnel = newTunnel(server, nil, app, f, web.Detached{})
	gone := f.cut(&cutError{code: closePolicy, reason: "revoked"})
	got, err := io.ReadAll(client)
	if len(got) != 0 || err != nil {
		t.Errorf("%q %v", got, err)
	}
	f.tunnel.start([]byte("HTTP/1.1 101 Switching Protocols\r\n\r\n"))
	<-gone
	if _, err := application.Read(make([]byte, 1)); err == nil || l.total != 0 {
		t.Errorf("%v, %d left", err, l.total)
	}

	client, server = net.Pipe()
	go func() { _, _ = io.Copy(io.Discard, client) }()
	late := newTunnel(server, nil, nil, f, web.Detached{})
	late.dead = true // cut, and not closed yet
	if err := late.greet([]byte("HTTP/1.1 101")); err == nil {
		t.Error("greeted after it was cut")
	}
}

// Fault 25: a recheck asks on goroutines of its own, where a panic would end the
// process. It is no answer instead, and without one a stream is closed.
func TestAPanicWhileAskingAgainClosesTheStreamAndNotTheProcess(t *testing.T) {
	r := newRig(t)
	var open atomic.Int32
	r.app.handler = streaming(&open, nil)
	s := openStream(t, r, "ana")
	r.sessions.change(func() { r.sessions.panics = true })
	r.live.Cut(context.Background(), member.Revocation{Kind: member.Recheck, Scope: member.ScopeAll})
	ended(t, s)
	if log := r.log.String(); !strings.Contains(log, "msg=panic") || strings.Contains(log, "boom") {
		t.Errorf("want a record of it that does not repeat the value (L01): %s", log)
	}
}

// brokenApp is an application's side with a fault in it (25): the pump that reads it
// has no handler above it that would recover.
type brokenApp struct{ io.ReadWriteCloser }

func (brokenApp) Read([]byte) (int, error) { panic("boom") }

// Fault 25: pumps run after the handler has returned, with nobody to recover for them.
func TestAPanicInATunnelEndsTheTunnelAndNotTheProcess(t *testing.T) {
	l, err := NewLive(LiveOptions{})
	if err != nil {
		t.Fatal(err)
	}
	f := bareFlight(l, 1)
	if err := l.enter(f); err != nil {
		t.Fatal(err)
	}
	client, server := net.Pipe()
	app, _ := net.Pipe()
	f.tunnel = newTunnel(server, nil, brokenApp{app}, f, web.Detached{})
	go f.tunnel.start([]byte("HTTP/1.1 101 Switching Protocols\r\n\r\n"))
	if _, err := io.ReadAll(client); err != nil {
		t.Fatal(err)
	}
	<-l.whenIdle()
}
