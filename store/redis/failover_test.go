package redis_test

import (
	"context"
	"errors"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/internal/testserver"
	"github.com/ssogate/ssogate/session"
	"github.com/ssogate/ssogate/session/sessiontest"
	"github.com/ssogate/ssogate/sso"
	"github.com/ssogate/ssogate/store/redis"
)

// during reads r without pause while f changes the servers: each answer is r, or
// an error in time that nobody can take for "no such session".
func (w *watched) during(r session.Record, f func()) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			for ctx.Err() == nil {
				start := time.Now()
				got, err := w.Sessions().Get(ctx, r.Hash)
				switch took := time.Since(start); {
				case ctx.Err() != nil:
				case took > redis.DefaultTimeout+slack:
					w.t.Errorf("fault 3: an answer took %v, want at most %v", took, redis.DefaultTimeout)
				case err == nil && got != r:
					w.t.Errorf("K09: during a failover: %+v, want %+v", got, r)
				case errors.Is(err, session.ErrNotFound), errors.Is(err, session.ErrMismatch):
					w.t.Errorf("G2: during a failover: %v", err)
				}
				time.Sleep(time.Millisecond) // leaves the machine to the servers
			}
		})
	}
	f()
	cancel()
	wg.Wait()
}

// wantWritable waits until sessions can be made again.
func (w *watched) wantWritable(id string) session.Record {
	w.t.Helper()
	r := sessiontest.Record(id, "m1", time.Now())
	wait(w.t, "a session is created", func() bool {
		err := w.Sessions().Create(w.t.Context(), r)
		if err != nil {
			// An attempt whose answer was lost may have made it.
			got, gerr := w.Sessions().Get(w.t.Context(), r.Hash)
			return gerr == nil && got == r
		}
		return true
	})
	return r
}

// TestSentinelFailover: sessions survive, every answer comes in time, and what
// is created afterwards is on the new primary (fault 3).
func TestSentinelFailover(t *testing.T) {
	for name, fault := range map[string]func(*testserver.SentinelServers) *testserver.RedisServer{
		"in good order": func(s *testserver.SentinelServers) *testserver.RedisServer { return s.Failover() },
		"crash": func(s *testserver.SentinelServers) *testserver.RedisServer {
			p := s.Primary()
			p.Kill()
			return s.AwaitFailover(p)
		},
		"frozen": func(s *testserver.SentinelServers) *testserver.RedisServer {
			p := s.Primary()
			p.Pause(time.Minute)
			return s.AwaitFailover(p)
		},
		"split brain": func(s *testserver.SentinelServers) *testserver.RedisServer { _, next := s.Isolate(); return next },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testserver.StartSentinel(t)
			w := watch(t, s.URL)
			r := w.create("before")
			s.Primary().AwaitInStep()
			var next *testserver.RedisServer
			w.during(r, func() { next = fault(s) })
			w.wantLive(r)
			after := w.wantWritable("after")
			at := open(t, redis.Options{URL: next.URL, Timeout: patient})
			if got, err := at.Sessions().Get(t.Context(), after.Hash); err != nil || got != after {
				t.Errorf("the session is not on the new primary: %+v, %v", got, err)
			}
			if err := w.Ping(t.Context()); err != nil {
				t.Errorf("ping: %v", err)
			}
		})
	}
}

// TestDemotedPrimary: connections that lead to a server which has become a
// replica are given up in the very call that finds out.
func TestDemotedPrimary(t *testing.T) {
	t.Parallel() // mostly waiting
	a, b := testserver.StartRedis(t, "--repl-diskless-sync-delay", "0"), testserver.StartRedis(t, "--repl-diskless-sync-delay", "0")
	fake, name := fakeSentinel(t, a.Addr)
	w := watchPatiently(t, "redis+sentinel://"+fake.Addr+"/main")
	r := w.create("a")
	race(8, func(int) { w.wantLive(r) }) // several connections
	host, port, _ := net.SplitHostPort(a.Addr)
	must := func(_ string, err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(b.Do("REPLICAOF", host, port))
	wait(t, "the replica is in step", func() bool { keys, err := b.Do("DBSIZE"); return err == nil && keys != "0" })
	must(b.Do("REPLICAOF", "NO", "ONE"))
	host, port, _ = net.SplitHostPort(b.Addr)
	must(a.Do("REPLICAOF", host, port)) // by hand: nobody's connections end
	name(b.Addr)
	for _, id := range []string{"b", "c", "d"} {
		fresh := sessiontest.Record(id, "m1", time.Now())
		if err := w.Sessions().Create(t.Context(), fresh); err != nil {
			t.Errorf("fault 3: %v; want one repetition at the new primary", err)
		}
	}
	if n := w.metric("redis_failover_total"); n == 0 {
		t.Error("redis_failover_total did not count")
	}
	w.wantLive(r)
}

// TestReplicaIsNeverRead: a sentinel that is behind names a server that follows
// another by now. Its answers may be old.
func TestReplicaIsNeverRead(t *testing.T) {
	t.Parallel() // mostly waiting
	a, b := testserver.StartRedis(t, "--repl-diskless-sync-delay", "0"), testserver.StartRedis(t, "--repl-diskless-sync-delay", "0")
	host, port, _ := net.SplitHostPort(a.Addr)
	direct := watchPatiently(t, a.URL)
	r := direct.create("a")
	if _, err := b.Do("REPLICAOF", host, port); err != nil {
		t.Fatal(err)
	}
	wait(t, "the replica is in step", func() bool { keys, err := b.Do("DBSIZE"); return err == nil && keys != "0" })
	fake, name := fakeSentinel(t, b.Addr)
	w := watchWith(t, redis.Options{URL: "redis+sentinel://" + fake.Addr + "/main", Timeout: patient})
	if got, err := w.Sessions().Get(t.Context(), r.Hash); err == nil || errors.Is(err, session.ErrNotFound) {
		t.Errorf("read from a replica: %+v, %v", got, err)
	}
	name(a.Addr)
	w.wantLive(r) // the benign twin
}

// TestFrozenSentinel: the one sentinel that the library clings to falls silent,
// and new connections are needed: the others are asked.
func TestFrozenSentinel(t *testing.T) {
	t.Parallel()
	srv := testserver.StartRedis(t)
	fake, _ := fakeSentinel(t, srv.Addr)
	chosen, spare := testserver.StartRelay(t, fake.Addr), testserver.StartRelay(t, fake.Addr)
	spare.Cut()
	w := watch(t, "redis+sentinel://"+chosen.Addr+","+spare.Addr+"/main")
	r := w.create("a")
	w.wantLive(r)
	spare.Restore()
	chosen.Hold()
	srv.Stop()
	srv.Start()
	w.wantLive(r)
}

// TestLostAnswersAreNotRepeated: a Take that ran and whose answer was lost would
// find nothing the second time, a Once its own mark. A cluster client repeats
// commands by itself unless it is told not to.
func TestLostAnswersAreNotRepeated(t *testing.T) {
	k := sso.Key{Kind: sso.KindAssertion, Hash: secret.Sum("a")}
	for _, kind := range []string{"single", "sentinel", "cluster"} {
		t.Run(kind, func(t *testing.T) {
			var srv *fakeServer
			srv = startFake(t, func(args []string) string {
				switch args[0] {
				case "cluster":
					host, port, _ := net.SplitHostPort(srv.Addr)
					return "*1\r\n*3\r\n:0\r\n:16383\r\n*3\r\n$" + "9\r\n" + host + "\r\n:" + port + "\r\n$40\r\n0123456789012345678901234567890123456789\r\n"
				case "role":
					return bulk("master")
				case "eval", "evalsha":
					if len(args) > 3 && args[2] == "3" { // put and take; the start-up check has others
						return "" // done, and the connection lost
					}
					return "*0\r\n"
				}
				return "-ERR unknown command\r\n"
			})
			url := "redis://" + srv.Addr
			switch kind {
			case "sentinel":
				s, _ := fakeSentinel(t, srv.Addr)
				url = "redis+sentinel://" + s.Addr + "/main"
			case "cluster":
				url = "redis+cluster://" + srv.Addr
			}
			d, _, err := redis.Open(t.Context(), redis.Options{URL: url, Timeout: patient})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = d.Close() })
			for name, call := range map[string]func() error{
				"once": func() error { return d.Pending().Once(t.Context(), k, time.Now().Add(time.Hour)) },
				"take": func() error { _, err := d.Pending().Take(t.Context(), k); return err },
			} {
				before := srv.count("evalsha") + srv.count("eval")
				if err := call(); err == nil || errors.Is(err, sso.ErrUsed) || errors.Is(err, sso.ErrNoRecord) {
					t.Errorf("%s: %v, want the error of a lost answer", name, err)
				}
				if n := srv.count("evalsha") + srv.count("eval") - before; n != 1 {
					t.Errorf("%s was sent %d times", name, n)
				}
			}
		})
	}
}
