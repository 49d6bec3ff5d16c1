package redis_test

import (
	"bytes"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/internal/testserver"
	"github.com/ssogate/ssogate/session"
	"github.com/ssogate/ssogate/session/sessiontest"
	"github.com/ssogate/ssogate/sso"
	"github.com/ssogate/ssogate/store/redis"
)

// slack is what a loaded machine may add to the 250 ms of one call.
const slack = time.Second

// watched is a DB with its log and metrics.
type watched struct {
	*redis.DB
	t     *testing.T
	reg   *prometheus.Registry
	setup *redis.DB // for what happens before the fault

	mu  sync.Mutex
	log bytes.Buffer
}

func (w *watched) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.log.Write(p)
}

func watch(t *testing.T, url string) *watched {
	t.Helper()
	w := watchWith(t, redis.Options{URL: url})
	w.setup = open(t, redis.Options{URL: url, Timeout: patient})
	return w
}

// watchPatiently is watch for tests that are not about time.
func watchPatiently(t *testing.T, url string) *watched {
	t.Helper()
	return watchWith(t, redis.Options{URL: url, Timeout: patient})
}

func watchWith(t *testing.T, o redis.Options) *watched {
	t.Helper()
	w := &watched{t: t, reg: prometheus.NewRegistry()}
	var err error
	if o.Metrics, err = redis.NewMetrics(w.reg); err != nil {
		t.Fatal(err)
	}
	o.Log = slog.New(slog.NewTextHandler(w, nil))
	w.DB = open(t, o)
	w.setup = w.DB
	return w
}

// lines counts log lines that contain s.
func (w *watched) lines(s string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return strings.Count(w.log.String(), s)
}

func (w *watched) metric(name string) float64 {
	w.t.Helper()
	families, err := w.reg.Gather()
	if err != nil {
		w.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == name {
			sum := 0.0
			for _, m := range f.GetMetric() {
				sum += value(m)
			}
			return sum
		}
	}
	w.t.Fatalf("no metric %s", name)
	return 0
}

func value(m *dto.Metric) float64 {
	if m.GetGauge() != nil {
		return m.GetGauge().GetValue()
	}
	return m.GetCounter().GetValue()
}

func (w *watched) create(id string) session.Record {
	w.t.Helper()
	r := sessiontest.Record(id, "m1", time.Now())
	if err := w.setup.Sessions().Create(w.t.Context(), r); err != nil {
		w.t.Fatal(err)
	}
	return r
}

// wantLive waits until the session can be read: after a fault the next attempt
// may be up to a second away.
func (w *watched) wantLive(r session.Record) {
	w.t.Helper()
	end := time.Now().Add(5 * time.Second)
	for {
		got, err := w.Sessions().Get(w.t.Context(), r.Hash)
		if err == nil && got == r {
			return
		}
		if errors.Is(err, session.ErrNotFound) || time.Now().After(end) {
			w.t.Fatalf("G2: after the fault: %+v, %v; want the same session", got, err)
		}
		time.Sleep(20 * time.Millisecond) // the server's time, not ours: nothing to inject
	}
}

// wantDown makes every kind of call once: each answers in time, and with an
// error that nobody can take for "no such session" or "never used".
func (w *watched) wantDown(r session.Record) {
	w.t.Helper()
	ctx, s, p := w.t.Context(), w.Sessions(), w.Pending()
	k := sso.Key{Kind: sso.KindAssertion, Hash: secret.Sum("assertion")}
	fresh := sessiontest.Record("fresh", "m1", time.Now())
	for name, call := range map[string]func() error{
		"get":     func() error { _, err := s.Get(ctx, r.Hash); return err },
		"touch":   func() error { return s.Touch(ctx, session.Used(r.Hash, time.Now())) },
		"create":  func() error { return s.Create(ctx, fresh) },
		"list":    func() error { _, err := s.List(ctx, r.Member); return err },
		"cut off": func() error { _, err := s.DeleteMember(ctx, r.Member, 99); return err },
		"put":     func() error { return p.Put(ctx, k, nil, time.Now().Add(time.Hour)) },
		"once":    func() error { return p.Once(ctx, k, time.Now().Add(time.Hour)) },
		"take":    func() error { _, err := p.Take(ctx, k); return err },
		"ping":    func() error { return w.Ping(ctx) },
	} {
		start := time.Now()
		err := call()
		if took := time.Since(start); took > redis.DefaultTimeout+slack {
			w.t.Errorf("fault 1: %s took %v, want at most %v", name, took, redis.DefaultTimeout)
		}
		switch {
		case err == nil:
			w.t.Errorf("fault 1: %s succeeded without a server", name)
		case errors.Is(err, session.ErrNotFound), errors.Is(err, session.ErrMismatch), errors.Is(err, sso.ErrNoRecord), errors.Is(err, sso.ErrUsed):
			w.t.Errorf("G2: %s: %v; the store could not know that", name, err)
		}
	}
}

func TestRedisStoppedAnswersAtOnceAndLosesNothing(t *testing.T) {
	srv := testserver.StartRedis(t)
	w := watch(t, srv.URL)
	r := w.create("a")
	w.wantLive(r) // the benign twin
	if up := w.metric("session_store_up"); up != 1 {
		t.Errorf("session_store_up %v, want 1", up)
	}

	srv.Stop()
	for range 3 {
		w.wantDown(r)
	}
	if up := w.metric("session_store_up"); up != 0 {
		t.Errorf("session_store_up %v, want 0", up)
	}
	srv.Start()
	w.wantLive(r)
	if up := w.metric("session_store_up"); up != 1 {
		t.Errorf("session_store_up %v, want 1", up)
	}
	if down, up := w.lines("redis is down"), w.lines("redis is up again"); down != 1 || up != 2 {
		t.Errorf("%d lines say down and %d up; want one per change:\n%s", down, up, w.log.String())
	}
}

func TestRedisSilentAnswersInTime(t *testing.T) {
	type server = testserver.RedisServer
	faults := map[string]func(*server, *testserver.Relay) (end func()){
		"frozen server":  func(s *server, _ *testserver.Relay) func() { s.Pause(time.Minute); return s.Resume },
		"silent network": func(_ *server, r *testserver.Relay) func() { r.Hold(); return r.Restore },
		"slow network":   func(_ *server, r *testserver.Relay) func() { r.Delay(2 * time.Second); return r.Restore },
		"cut network":    func(_ *server, r *testserver.Relay) func() { r.Cut(); return r.Restore },
	}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // mostly waiting
			srv := testserver.StartRedis(t)
			relay := testserver.StartRelay(t, srv.Addr)
			w := watch(t, "redis://"+relay.Addr)
			r := w.create(name)
			w.wantLive(r)
			end := fault(srv, relay)
			w.wantDown(r)
			end()
			w.wantLive(r)
		})
	}
}

func TestRedisDownDoesNotPileUpRequests(t *testing.T) {
	srv := testserver.StartRedis(t)
	relay := testserver.StartRelay(t, srv.Addr)
	w := watch(t, "redis://"+relay.Addr)
	r := w.create("a")
	relay.Hold()
	for range 3 { // the breaker opens
		_, _ = w.Sessions().Get(t.Context(), r.Hash)
	}
	var slow atomic.Int32
	race(20, func(int) {
		for range 50 {
			start := time.Now()
			if _, err := w.Sessions().Get(t.Context(), r.Hash); err == nil {
				t.Error("read through a silent network")
				return
			}
			if time.Since(start) > redis.DefaultTimeout/2 {
				if slow.Add(1) > 20 {
					return
				}
			}
		}
	})
	if n := slow.Load(); n > 5 {
		t.Errorf("fault 2: of 1000 requests %d or more waited for a dead server; all but a few probes should fail at once", n)
	}
	relay.Restore()
	w.wantLive(r)
}

// race runs n functions at once and waits for them.
func race(n int, f func(i int)) {
	var wg sync.WaitGroup
	gate := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-gate
			f(i)
		})
	}
	close(gate)
	wg.Wait()
}

func TestBrokenConnectionsRecover(t *testing.T) {
	srv := testserver.StartRedis(t)
	for name, fault := range map[string]func(*testserver.Relay){
		"reset":      (*testserver.Relay).Reset,
		"half close": (*testserver.Relay).HalfClose,
	} {
		t.Run(name, func(t *testing.T) {
			relay := testserver.StartRelay(t, srv.Addr)
			w := watch(t, "redis://"+relay.Addr)
			r := w.create(name)
			for range 5 {
				fault(relay)
				w.wantLive(r)
			}
			if w.lines("redis is down") != 0 {
				t.Errorf("a broken idle connection was reported as a server that is down:\n%s", w.log.String())
			}
		})
	}
}

func TestFlushedRedisForgetsAndGoesOn(t *testing.T) {
	srv := testserver.StartRedis(t)
	w := watchPatiently(t, srv.URL)
	r := w.create("a")
	raw(t, srv.URL).FlushAll(t.Context())
	raw(t, srv.URL).ScriptFlush(t.Context()) // as after a failover: the scripts are gone too
	if _, err := w.Sessions().Get(t.Context(), r.Hash); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("fault 4: %v, want ErrNotFound: everyone signs in again", err)
	}
	if err := w.Sessions().Touch(t.Context(), session.Used(r.Hash, time.Now())); err != nil {
		t.Errorf("touch: %v", err)
	}
	if n, err := w.Sessions().DeleteMember(t.Context(), r.Member, 99); err != nil || n != 0 {
		t.Errorf("cut off: %d, %v", n, err)
	}
	w.wantLive(w.create("a"))
}

// TestSwappedAnswers exchanges answers between two connections, as a broken
// proxy does: nobody may be taken for somebody else (K09, fault 5).
func TestSwappedAnswers(t *testing.T) {
	srv := testserver.StartRedis(t)
	for name, behind := range map[string]func(addr string) string{
		"single":   func(addr string) string { return "redis://" + addr },
		"sentinel": func(addr string) string { s, _ := fakeSentinel(t, addr); return "redis+sentinel://" + s.Addr + "/main" },
	} {
		t.Run(name, func(t *testing.T) { swappedAnswers(t, srv.Addr, behind) })
	}
}

func swappedAnswers(t *testing.T, addr string, behind func(addr string) string) {
	relay := testserver.StartRelay(t, addr)
	w := watch(t, behind(relay.Addr))
	ann, ben := w.create("ann-"+t.Name()), w.create("ben-"+t.Name())
	refused := false
	for range 20 {
		relay.SwapReplies(1)
		race(2, func(i int) {
			r := []session.Record{ann, ben}[i]
			got, err := w.Sessions().Get(t.Context(), r.Hash)
			if err == nil && got != r {
				t.Errorf("K09: asked for %s and was given %+v", r.Hash.Short(), got)
			}
			if errors.Is(err, session.ErrNotFound) {
				t.Errorf("K09: a swapped answer signed somebody out: %v", err)
			}
		})
		if w.metric("session_record_mismatch_total") > 0 {
			refused = true
			break
		}
	}
	if !refused {
		t.Error("no answer was ever swapped: the test shows nothing")
	}
	w.wantLive(ann)
	w.wantLive(ben)
	if w.lines("out of order") == 0 {
		t.Errorf("the connections were not replaced:\n%s", w.log.String())
	}
}

// TestSwappedAnswersNeverPassAReplay: the answer "fresh" belongs to one
// assertion only (S17).
func TestSwappedAnswersNeverPassAReplay(t *testing.T) {
	srv := testserver.StartRedis(t)
	relay := testserver.StartRelay(t, srv.Addr)
	w := watch(t, "redis://"+relay.Addr)
	until := time.Now().Add(time.Hour)
	key := func(name string) sso.Key { return sso.Key{Kind: sso.KindAssertion, Hash: secret.Sum(name)} }
	if err := w.setup.Pending().Once(t.Context(), key("used"), until); err != nil {
		t.Fatal(err)
	}
	for i := range 40 {
		relay.SwapReplies(1)
		race(2, func(n int) {
			if n == 1 {
				_ = w.Pending().Once(t.Context(), key(fmt.Sprint("fresh", i)), until) // refused when swapped
				return
			}
			if err := w.Pending().Once(t.Context(), key("used"), until); err == nil {
				t.Error("S17: a replay was told that it is the first use")
			}
		})
		if w.metric("session_record_mismatch_total") > 1 {
			return
		}
	}
	t.Error("no answer was ever swapped: the test shows nothing")
}

// TestSwappedAnswersNeverHandOverASignIn: what one browser takes is never
// another's (W3).
func TestSwappedAnswersNeverHandOverASignIn(t *testing.T) {
	srv := testserver.StartRedis(t)
	relay := testserver.StartRelay(t, srv.Addr)
	w := watch(t, "redis://"+relay.Addr)
	for i := range 40 {
		keys := [2]sso.Key{}
		for n := range keys {
			keys[n] = sso.Key{Kind: sso.KindCode, Hash: secret.Sum(fmt.Sprint(i, n))}
			if err := w.setup.Pending().Put(t.Context(), keys[n], []byte(keys[n].Hash.String()), time.Now().Add(time.Hour)); err != nil {
				t.Fatalf("round %d: %v", i, err)
			}
		}
		relay.SwapReplies(1)
		race(2, func(n int) {
			got, err := w.Pending().Take(t.Context(), keys[n])
			if err == nil && string(got[0]) != keys[n].Hash.String() {
				t.Errorf("K09: took %q, asked for %s", got[0], keys[n].Hash)
			}
		})
		if w.metric("session_record_mismatch_total") > 1 {
			return
		}
	}
	t.Error("no answer was ever swapped: the test shows nothing")
}
