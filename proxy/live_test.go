package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
)

func endMember(id member.ID, epoch int64) member.Revocation {
	return member.Revocation{Seq: 9, Kind: member.End, Scope: member.ScopeMember, Target: string(id), Epoch: epoch}
}

// openStream starts an event stream and waits for its first event.
func openStream(t *testing.T, r *rig, token string) *bufio.Reader {
	t.Helper()
	c := r.dial()
	t.Cleanup(func() { _ = c.Close() })
	_, _ = io.WriteString(c, "GET /events HTTP/1.1\r\nHost: "+appHost+"\r\n"+as(token)+"\r\n\r\n")
	_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
	br := bufio.NewReader(c)
	res, err := http.ReadResponse(br, nil)
	if err != nil || res.StatusCode != 200 {
		t.Fatalf("stream did not open: %v %v", res, err)
	}
	body := bufio.NewReader(res.Body)
	if line, err := body.ReadString('\n'); err != nil || line != "data: 0\n" {
		t.Fatalf("%q %v", line, err)
	}
	return body
}

// streaming is an application that sends an event, and then one for every value
// of tick; it counts those that are open.
func streaming(open *atomic.Int32, tick <-chan struct{}) http.HandlerFunc {
	return func(w http.ResponseWriter, q *http.Request) {
		open.Add(1)
		defer open.Add(-1)
		w.Header().Set("Content-Type", "text/event-stream")
		for i := 0; ; i++ {
			if _, err := fmt.Fprintf(w, "data: %d\n", i); err != nil {
				return
			}
			_ = http.NewResponseController(w).Flush()
			select {
			case <-q.Context().Done():
				return
			case <-tick:
			}
		}
	}
}

// notForced fails when a cut had to tear a connection down because a handler did
// not leave by itself: then the second within which it must be true is nearly over.
func (r *rig) notForced() {
	r.t.Helper()
	families, err := r.registry.Gather()
	if err != nil {
		r.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "proxy_cut_forced_total" {
			if n := f.GetMetric()[0].GetCounter().GetValue(); n != 0 {
				r.t.Errorf("%v handlers did not leave when they were cut", n)
			}
			return
		}
	}
	r.t.Error("proxy_cut_forced_total is gone")
}

func (r *rig) inFlight() int {
	r.live.mu.Lock()
	defer r.live.mu.Unlock()
	return r.live.total
}

// ended reports how a stream ended; an abort is an error other than EOF.
func ended(t *testing.T, br *bufio.Reader) {
	t.Helper()
	_, err := io.Copy(io.Discard, br)
	if err == nil {
		t.Error("the stream ended as if it were complete")
	}
	if ne := net.Error(nil); errors.As(err, &ne) && ne.Timeout() {
		t.Error("the stream did not end")
	}
}

func TestGuaranteeCutOffEndsExactlyWhatTheRevocationNames(t *testing.T) {
	for _, c := range []struct {
		name string
		r    member.Revocation
		want map[string]bool // which streams end
	}{
		{"K07 member", endMember("m-ana", 4), map[string]bool{"ana": true, "ana2": true}},
		{"C7 member, late row of an earlier epoch", endMember("m-ana", 3), map[string]bool{}},
		{"session", member.Revocation{Kind: member.End, Scope: member.ScopeSession, Target: principal("ana2", ana).Session.String()}, map[string]bool{"ana2": true}},
		{"no such session", member.Revocation{Kind: member.End, Scope: member.ScopeSession, Target: "zz"}, map[string]bool{}},
		{"provider", member.Revocation{Kind: member.End, Scope: member.ScopeProvider, Target: "google"}, map[string]bool{"goo": true}},
		{"all", member.Revocation{Kind: member.End, Scope: member.ScopeAll}, map[string]bool{"ana": true, "ana2": true, "ben": true, "goo": true}},
		{"members named together", member.Revocation{Kind: "new", Scope: member.ScopeMembers, Target: "m-goo m-ben m-nobody", Epoch: 9}, map[string]bool{"ben": true, "goo": true}},
		{"C7 all, late row: signed in at its number or after it", member.Revocation{Seq: 20, Kind: member.End, Scope: member.ScopeAll}, map[string]bool{"ana": true, "ana2": true, "ben": true}},
		{"all, the next row", member.Revocation{Seq: 21, Kind: member.End, Scope: member.ScopeAll}, map[string]bool{"ana": true, "ana2": true, "ben": true, "goo": true}},
		{"C7 provider, late row", member.Revocation{Seq: 20, Kind: member.End, Scope: member.ScopeProvider, Target: "google"}, map[string]bool{}},
		{"provider, the next row", member.Revocation{Seq: 21, Kind: member.End, Scope: member.ScopeProvider, Target: "google"}, map[string]bool{"goo": true}},
		{"unknown kind", member.Revocation{Kind: "new", Scope: member.ScopeMember, Target: "m-ben", Epoch: 9}, map[string]bool{"ben": true}},
		{"unknown scope", member.Revocation{Kind: member.End, Scope: "new"}, map[string]bool{"ana": true, "ana2": true, "ben": true, "goo": true}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			var open atomic.Int32
			tick := make(chan struct{})
			r.app.handler = streaming(&open, tick)
			r.sessions.by["ana2"] = principal("ana2", ana)
			goo := principal("goo", member.Member{ID: "m-goo", Wish: true, Accepted: true})
			goo.Provider, goo.Seq = "google", 20
			r.sessions.by["goo"] = goo
			streams := map[string]*bufio.Reader{}
			for _, who := range []string{"ana", "ana2", "ben", "goo"} {
				streams[who] = openStream(t, r, who)
			}
			start := time.Now()
			r.live.Cut(context.Background(), c.r)
			t.Logf("cut took %s", time.Since(start))
			r.notForced()
			if took := time.Since(start); took > time.Second {
				t.Errorf("took %s", took)
			}
			if left := r.inFlight(); left != 4-len(c.want) {
				t.Errorf("%d streams left on return, want %d", left, 4-len(c.want))
			}
			for who := range c.want {
				ended(t, streams[who])
			}
			eventually(t, "the application's side ends too", func() bool { return int(open.Load()) == 4-len(c.want) })
			close(tick)
			for who, br := range streams {
				if !c.want[who] {
					if line, err := br.ReadString('\n'); err != nil || line == "" {
						t.Errorf("%s was cut although the revocation does not name it: %v", who, err)
					}
				}
			}
		})
	}
}

func TestGuaranteeCutOffEndsUploads(t *testing.T) {
	r := newRig(t)
	got := make(chan error, 1)
	r.app.handler = func(_ http.ResponseWriter, q *http.Request) {
		_, err := io.Copy(io.Discard, q.Body)
		got <- err
	}
	c := r.dial()
	defer func() { _ = c.Close() }()
	_, _ = io.WriteString(c, "POST /up HTTP/1.1\r\nHost: "+appHost+"\r\n"+as("ana")+"\r\nContent-Length: 1000000\r\n\r\nabc")
	eventually(t, "the upload runs", func() bool { return len(r.app.requests()) == 1 })
	start := time.Now()
	r.live.Cut(context.Background(), endMember("m-ana", 4))
	t.Logf("cut took %s", time.Since(start))
	r.notForced()
	if took := time.Since(start); took > time.Second || r.inFlight() != 0 {
		t.Errorf("took %s, %d left", took, r.inFlight())
	}
	select {
	case err := <-got:
		if err == nil {
			t.Error("the application took the cut upload for a whole one")
		}
	case <-time.After(5 * time.Second):
		t.Error("the application still waits for the rest")
	}
	_ = c.SetReadDeadline(time.Now().Add(5 * time.Second))
	if n, _ := io.Copy(io.Discard, c); n > 0 {
		t.Errorf("%d bytes were answered to somebody who was cut off", n)
	}
}

func TestCutRequestDoesNotPoisonAKeptConnection(t *testing.T) {
	r := newRig(t)
	cl := r.client()
	for range 20 {
		res, err := cl.Get(r.server.URL + "/")
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, res.Body)
		_ = res.Body.Close()
		// A cut between two requests of a connection concerns neither.
		r.live.Cut(context.Background(), endMember("m-ana", 4))
	}
}

func TestW02ExpiryClosesStreams(t *testing.T) {
	now := &clock.Manual{}
	r := newRig(t, func(c *rigConfig) { c.live = LiveOptions{Now: now.Now, Sweep: 5 * time.Millisecond} })
	var open atomic.Int32
	r.app.handler = streaming(&open, nil)
	s := openStream(t, r, "ana")
	time.Sleep(20 * time.Millisecond) // several sweeps
	if open.Load() != 1 {
		t.Fatal("benign: closed before its time")
	}
	now.Advance(2 * time.Hour)
	ended(t, s)
	eventually(t, "the registry is empty", func() bool { return r.inFlight() == 0 })
}

// K06, fault 16: a stream asks nobody again, so its end must not wait for the wall
// clock to come back.
func TestW02AClockSetBackDoesNotLengthenAStream(t *testing.T) {
	now := &clock.Manual{}
	r := newRig(t, func(c *rigConfig) { c.live = LiveOptions{Now: now.Now, Sweep: 5 * time.Millisecond} })
	var open atomic.Int32
	r.app.handler = streaming(&open, nil)
	p := principal("brief", ana)
	p.Expires = now.Now().Add(500 * time.Millisecond)
	r.sessions.by["brief"] = p
	s := openStream(t, r, "brief")
	now.Advance(-24 * time.Hour)
	ended(t, s)
}

func TestCutAllEndsWhatHasASession(t *testing.T) {
	r := newRig(t)
	var open atomic.Int32
	r.app.handler = streaming(&open, nil)
	a, b := openStream(t, r, "ana"), openStream(t, r, "ben")
	r.live.CutAll(context.Background(), "lease lost")
	ended(t, a)
	ended(t, b)
}

// A team lost closes what needed the team, and nothing else (C10).
func TestRecheckClosesWhatTheRouteNowRefuses(t *testing.T) {
	r := newRig(t)
	var open atomic.Int32
	tick := make(chan struct{})
	r.app.handler = streaming(&open, tick)
	r.sessions.by["both"] = principal("both", ana, "finance")
	stream := func(target string) *bufio.Reader {
		c := r.dial()
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		_, _ = io.WriteString(c, "GET "+target+" HTTP/1.1\r\nHost: "+appHost+"\r\n"+as("both")+"\r\n\r\n")
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || res.StatusCode != 200 {
			t.Fatalf("%v %v", res, err)
		}
		br := bufio.NewReader(res.Body)
		if _, err := br.ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		return br
	}
	admin, admin2, plain := stream("/admin/events"), stream("/admin/other"), stream("/events")
	row := member.Revocation{Seq: 7, Kind: member.Recheck, Scope: member.ScopeMember, Target: "m-ana", Epoch: 3}
	before := r.sessions.calls
	r.live.Cut(context.Background(), row)
	if open.Load() != 3 {
		t.Fatalf("benign: still in the team, but %d of 3 streams are open", open.Load())
	}
	if asked := r.sessions.calls - before; asked != 2 {
		t.Errorf("asked %d times for two routes of one session", asked)
	}
	r.sessions.change(func() { r.sessions.by["both"] = principal("both", ana, "sales") })
	r.live.Cut(context.Background(), row)
	ended(t, admin)
	ended(t, admin2)
	close(tick)
	if _, err := plain.ReadString('\n'); err != nil {
		t.Errorf("the stream that needs no team was cut: %v", err)
	}
}

func TestRecheckWithoutAnAnswerClosesStreams(t *testing.T) {
	r := newRig(t)
	var open atomic.Int32
	r.app.handler = streaming(&open, nil)
	s := openStream(t, r, "ana")
	r.sessions.change(func() { r.sessions.errs["ana"] = errors.New("store down") })
	r.live.Cut(context.Background(), member.Revocation{Kind: member.Recheck, Scope: member.ScopeAll})
	ended(t, s)
}

func TestRecheckUsesTodaysRoutes(t *testing.T) {
	r := newRig(t)
	var open atomic.Int32
	r.app.handler = streaming(&open, nil)
	s := openStream(t, r, "ana")
	routes, err := Compile([]RouteSpec{{Name: "app", Origins: []string{"https://" + appHost}, Upstream: r.up.URL, Teams: []string{"finance"}}}, "https://sso.example.com")
	if err != nil {
		t.Fatal(err)
	}
	r.gate.SetRoutes(routes)
	r.live.Cut(context.Background(), member.Revocation{Kind: member.Recheck, Scope: member.ScopeAll})
	ended(t, s)
}

// One answer serves a session's exchanges on one route, but not across the line
// between what is public there now and what is not.
func TestRecheckOfAPathThatBecamePublicSparesNoOther(t *testing.T) {
	r := newRig(t)
	var open atomic.Int32
	r.app.handler = streaming(&open, nil)
	stream := func(target string) *bufio.Reader {
		c := r.dial()
		t.Cleanup(func() { _ = c.Close() })
		_ = c.SetReadDeadline(time.Now().Add(10 * time.Second))
		_, _ = io.WriteString(c, "GET "+target+" HTTP/1.1\r\nHost: "+appHost+"\r\n"+as("ana")+"\r\n\r\n")
		res, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil || res.StatusCode != 200 {
			t.Fatalf("%v %v", res, err)
		}
		return bufio.NewReader(res.Body)
	}
	private, opened := stream("/private"), stream("/opened") // the newest is asked about first
	routes, err := Compile([]RouteSpec{{
		Name: "app", Origins: []string{"https://" + appHost}, Upstream: r.up.URL, Teams: []string{"finance"}, Public: []string{"/opened"},
	}}, "https://sso.example.com")
	if err != nil {
		t.Fatal(err)
	}
	r.gate.SetRoutes(routes)
	r.live.Cut(context.Background(), member.Revocation{Kind: member.Recheck, Scope: member.ScopeAll})
	if n := r.inFlight(); n != 1 {
		t.Errorf("%d of 2 streams are open, want the public one alone: ana is not in the team", n)
	}
	_ = opened
	if r.inFlight() == 1 {
		ended(t, private)
	}
}

// A principal that went stale between admission and the first event (C10).
func TestStreamDoesNotBeginStale(t *testing.T) {
	r := newRig(t)
	r.app.handler = func(w http.ResponseWriter, _ *http.Request) {
		r.sessions.change(func() { r.sessions.stale[r.sessions.by["ana"]] = true })
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: secret\n\n")
	}
	if res := r.get("/", as("ana")); res.StatusCode != 503 {
		t.Errorf("%d %q", res.StatusCode, res.text)
	}
}

func TestW03CapsPerSessionAndInAll(t *testing.T) {
	r := newRig(t, func(c *rigConfig) { c.live = LiveOptions{PerSession: 2, Total: 3} })
	var open atomic.Int32
	tick := make(chan struct{})
	r.app.handler = streaming(&open, tick)
	openStream(t, r, "ana")
	second := openStream(t, r, "ana")
	if res := r.get("/", as("ana"), navigate); res.StatusCode != 429 || res.Header.Get("Retry-After") == "" {
		t.Errorf("third of one session: %d", res.StatusCode)
	}
	openStream(t, r, "ben")
	if res := r.get("/", as("ben")); res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
		t.Errorf("fourth in all: %d", res.StatusCode)
	}
	_ = second
	r.live.Cut(context.Background(), endMember("m-ana", 4))
	openStream(t, r, "ana")
}

func TestShutdownEndsStreamsAndLetsRequestsFinish(t *testing.T) {
	r := newRig(t)
	var open atomic.Int32
	slow, stream := make(chan struct{}), streaming(&open, nil)
	r.app.handler = func(w http.ResponseWriter, q *http.Request) {
		if q.URL.Path == "/events" {
			stream(w, q)
			return
		}
		<-slow
		_, _ = io.WriteString(w, "done")
	}
	s := openStream(t, r, "ana")
	answer := make(chan answerOf, 1)
	go func() { answer <- r.get("/slow", as("ben")) }()
	eventually(t, "the slow request runs", func() bool { return len(r.app.requests()) == 2 })
	down := make(chan struct{})
	go func() { r.live.Shutdown(context.Background(), 0); close(down) }()
	ended(t, s)
	select {
	case <-down:
		t.Error("Shutdown returned although a request is running")
	default:
	}
	close(slow)
	if res := <-answer; res.text != "done" {
		t.Errorf("a request in flight was not allowed to finish: %d %q", res.StatusCode, res.text)
	}
	<-down
}

func TestShutdownCutsWhatOutlivesItsContext(t *testing.T) {
	r := newRig(t)
	never := make(chan struct{})
	defer close(never)
	r.app.handler = func(http.ResponseWriter, *http.Request) { <-never }
	c := r.dial()
	defer func() { _ = c.Close() }()
	_, _ = io.WriteString(c, "GET /public/hang HTTP/1.1\r\nHost: "+appHost+"\r\n\r\n")
	eventually(t, "it runs", func() bool { return len(r.app.requests()) == 1 })
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Millisecond)
	defer cancel()
	r.live.Shutdown(ctx, 0)
	if r.inFlight() != 0 {
		t.Errorf("%d left", r.inFlight())
	}
}

// Requests that start, end and are cut at the same time leave nothing behind.
func TestRegistryUnderConcurrentCuts(t *testing.T) {
	r := newRig(t)
	cl := r.client()
	stop := make(chan struct{})
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for {
				select {
				case <-stop:
					return
				default:
				}
				if res, err := cl.Get(r.server.URL + "/x"); err == nil {
					_, _ = io.Copy(io.Discard, res.Body)
					_ = res.Body.Close()
				}
			}
		})
	}
	for range 100 {
		r.live.Cut(context.Background(), endMember("m-ana", 4))
		r.live.Cut(context.Background(), member.Revocation{Kind: member.Recheck, Scope: member.ScopeAll})
	}
	close(stop)
	wg.Wait()
	eventually(t, "the registry is empty", func() bool {
		r.live.mu.Lock()
		defer r.live.mu.Unlock()
		return r.live.total == 0 && len(r.live.sessions) == 0 && len(r.live.members) == 0
	})
}

// A revocation that arrives between the decision and the registration is seen
// by the re-check: at no interleaving is a request dispatched (C10).
func TestGuaranteeNoRequestSlipsBetweenDecisionAndRegistration(t *testing.T) {
	r := newRig(t)
	p := r.sessions.by["ana"]
	r.gate.o.Sessions = &racing{fakeSessions: r.sessions, before: func() {
		r.sessions.change(func() {
			r.sessions.stale[p] = true // the floor is raised first ...
			r.sessions.errs["ana"] = session.ErrRevoked
		})
		r.live.Cut(context.Background(), endMember("m-ana", 4)) // ... then streams are cut
	}}
	if res := r.get("/", as("ana"), "Accept: application/json"); res.StatusCode != 401 {
		t.Errorf("%d", res.StatusCode)
	}
	r.none("it was cut off before it was registered")
}

// racing lets a revocation happen right after the principal was read.
type racing struct {
	*fakeSessions
	before func()
	once   sync.Once
}

func (s *racing) Again(ctx context.Context, r *http.Request) (*session.Principal, error) {
	return s.Admit(ctx, r)
}

func (s *racing) Admit(ctx context.Context, r *http.Request) (*session.Principal, error) {
	p, err := s.fakeSessions.Admit(ctx, r)
	s.once.Do(s.before)
	return p, err
}
