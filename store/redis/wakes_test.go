package redis_test

import (
	"bytes"
	"context"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ssogate/ssogate/internal/testserver"
	"github.com/ssogate/ssogate/store/redis"
)

// ear listens for wake-ups.
type ear struct {
	t    *testing.T
	rang chan struct{}
}

func listen(t *testing.T, d *redis.DB) *ear {
	t.Helper()
	e := &ear{t: t, rang: make(chan struct{}, 1000)}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		d.Wakes().Listen(ctx, func() { e.rang <- struct{}{} })
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
	})
	return e
}

// heard waits for one call of woken.
func (e *ear) heard(what string) {
	e.t.Helper()
	select {
	case <-e.rang:
	case <-time.After(30 * time.Second):
		e.t.Fatalf("not woken: %s", what)
	}
}

// quiet forgets what was heard so far.
func (e *ear) quiet() {
	for {
		select {
		case <-e.rang:
		default:
			return
		}
	}
}

// wakeUntilHeard wakes until somebody who is listening again hears it: how long
// that takes is the servers' business, and a lost wake-up costs one poll.
func wakeUntilHeard(t *testing.T, from *redis.DB, ears ...*ear) {
	t.Helper()
	for _, e := range ears {
		e.quiet()
	}
	for end := time.Now().Add(60 * time.Second); ; {
		sent := from.Wakes().Wake(t.Context()) == nil
		all := sent
		for _, e := range ears {
			select {
			case <-e.rang:
			case <-time.After(100 * time.Millisecond):
				all = false
			}
		}
		if all {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("nobody hears wake-ups any more (the last one was sent: %v)", sent)
		}
	}
}

// TestWakesReachEveryNode: two nodes hear each other and themselves, and are
// woken once for the subscription itself, before which a wake-up may be lost.
func TestWakesReachEveryNode(t *testing.T) {
	servers(t, func(t *testing.T, place func(*testing.T) redis.Options) {
		o := place(t)
		a, b := open(t, o), open(t, o)
		stranger := o
		stranger.Prefix = "other:"
		c := open(t, stranger)
		ea, eb, ec := listen(t, a), listen(t, b), listen(t, c)
		for _, e := range []*ear{ea, eb, ec} {
			e.heard("the subscription itself")
		}
		for range 5 {
			if err := a.Wakes().Wake(t.Context()); err != nil {
				t.Fatal(err)
			}
			ea.heard("the node that woke")
			eb.heard("the other node")
		}
		select {
		case <-ec.rang:
			t.Error("a gateway with another prefix was woken")
		default:
		}
	})
}

// TestWakesSurviveALostConnection: a node that was cut off is woken when it is
// back, for what it missed.
func TestWakesSurviveALostConnection(t *testing.T) {
	srv := testserver.StartRedis(t)
	for name, fault := range map[string]func(*testserver.Relay){
		"reset":          (*testserver.Relay).Reset,
		"half close":     (*testserver.Relay).HalfClose,
		"cut":            (*testserver.Relay).Cut,
		"silent network": (*testserver.Relay).Hold,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			relay := testserver.StartRelay(t, srv.Addr)
			far, near := watch(t, "redis://"+relay.Addr), open(t, redis.Options{URL: srv.URL, Timeout: patient})
			e := listen(t, far.DB)
			e.heard("the subscription")
			fault(relay)
			_ = near.Wakes().Wake(t.Context()) // lost
			relay.Restore()
			if name == "silent network" {
				relay.Hold()
				// The node itself must notice: nothing is ever closed.
				wait(t, "the silence is noticed", func() bool { return far.metric("redis_wake_failures_total") > 0 })
				relay.Restore()
			}
			e.heard("a new subscription makes up for the lost wake-up")
			wakeUntilHeard(t, near, e)
		})
	}
}

// Fault 5: what a subscription brings may be the answer to something else. The
// library panics over its types; the process must not end by that.
func TestWakesSurviveAnAnswerToSomethingElse(t *testing.T) {
	srv := testserver.StartRedis(t)
	relay := testserver.StartRelay(t, srv.Addr)
	here, there := open(t, redis.Options{URL: "redis://" + relay.Addr + "/0"}), open(t, redis.Options{URL: srv.URL})
	e := listen(t, here)
	wakeUntilHeard(t, there, e)
	for _, answer := range []string{"*1\r\n$-1\r\n", "*3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n$1\r\nx\r\n", "*1\r\n$7\r\nmessage\r\n", "*0\r\n", ":1\r\n"} {
		broken := make(chan struct{}, 100)
		relay.Edit(func(b []byte) []byte {
			if !bytes.Contains(b, []byte("message")) {
				return b
			}
			broken <- struct{}{}
			return []byte(answer)
		})
		e.quiet()
		if err := there.Wakes().Wake(t.Context()); err != nil {
			t.Fatal(err)
		}
		select {
		case <-broken:
		case <-time.After(30 * time.Second):
			t.Fatal("the wake-up never came by")
		}
		relay.Edit(func(b []byte) []byte { return b })
		wakeUntilHeard(t, there, e)
	}
}

// wait polls: what it waits for is in another process.
func wait(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("not within 60 s: %s", what)
		}
	}
}

func TestWakesThroughASentinelFailover(t *testing.T) {
	t.Parallel()
	s := testserver.StartSentinel(t)
	a, b := watch(t, s.URL), watch(t, s.URL)
	ea, eb := listen(t, a.DB), listen(t, b.DB)
	ea.heard("the subscription")
	eb.heard("the subscription")
	for _, fault := range []func(){
		func() { s.Failover() },
		func() { old := s.Primary(); old.Kill(); s.AwaitFailover(old); old.Start() },
	} {
		fault()
		wakeUntilHeard(t, a.DB, ea, eb)
		wakeUntilHeard(t, b.DB, ea, eb)
	}
}

// TestWakesLeaveAnIsolatedPrimary: the old primary of a split network looks well
// to those who are subscribed to it, and nobody publishes there any more.
func TestWakesLeaveAnIsolatedPrimary(t *testing.T) {
	t.Parallel()
	s := testserver.StartSentinel(t)
	a := watch(t, s.URL)
	e := listen(t, a.DB)
	e.heard("the subscription")
	_, next := s.Isolate()
	wakeUntilHeard(t, open(t, redis.Options{URL: next.URL, Timeout: patient}), e)
}

func TestWakesWithADeadNodeOfACluster(t *testing.T) {
	t.Parallel()
	c := testserver.StartCluster(t, false)
	a, b := watch(t, c.URL), watch(t, c.URL)
	ea, eb := listen(t, a.DB), listen(t, b.DB)
	ea.heard("the subscription")
	eb.heard("the subscription")
	// The one that has the channel's own slot: a client that went by the slot
	// could neither publish nor subscribe.
	c.Nodes[c.Owner("ssogate:wake")].Kill()
	wakeUntilHeard(t, a.DB, ea, eb)
	wakeUntilHeard(t, b.DB, ea, eb)
}

// TestWakeGivesUp: a wake-up that cannot be sent holds nobody up, and is counted.
func TestWakeGivesUp(t *testing.T) {
	srv := testserver.StartRedis(t)
	w := watch(t, srv.URL)
	srv.Pause(time.Minute)
	for range 5 {
		start := time.Now()
		if err := w.Wakes().Wake(t.Context()); err == nil {
			t.Error("a frozen server was woken")
		}
		if took := time.Since(start); took > redis.DefaultTimeout+slack {
			t.Errorf("gave up after %v, want at most %v", took, redis.DefaultTimeout)
		}
	}
	if n := w.metric("redis_wake_failures_total"); n != 5 {
		t.Errorf("counted %v failures, want 5", n)
	}
}

// TestListenEndsWithItsContext and leaves nothing behind, whatever it was doing.
func TestListenEndsWithItsContext(t *testing.T) {
	srv := testserver.StartRedis(t)
	for name, state := range map[string]func(){
		"subscribed": func() {}, "frozen server": func() { srv.Pause(time.Minute) }, "no server": srv.Kill,
	} {
		before := goleak.IgnoreCurrent()
		d, _, err := redis.Open(t.Context(), redis.Options{URL: srv.URL})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended, woken := make(chan struct{}), make(chan struct{}, 100)
		go func() {
			defer close(ended)
			d.Wakes().Listen(ctx, func() { woken <- struct{}{} })
		}()
		<-woken
		state()
		cancel()
		<-ended
		if err := d.Close(); err != nil {
			t.Errorf("%s: close: %v", name, err)
		}
		goleak.VerifyNone(t, before)
		srv.Resume()
		srv.Stop()
		srv.Start()
	}
}
