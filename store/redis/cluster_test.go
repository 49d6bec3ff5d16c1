package redis_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/internal/testserver"
	"github.com/ssogate/ssogate/session"
	"github.com/ssogate/ssogate/session/sessiontest"
	"github.com/ssogate/ssogate/sso"
	"github.com/ssogate/ssogate/store/redis"
)

// spread makes n sessions of a member and answers them by the master they are on.
func (w *watched) spread(c *testserver.ClusterServers, n int) map[int][]session.Record {
	w.t.Helper()
	on := map[int][]session.Record{}
	for i := range n {
		r := w.create(fmt.Sprint("s", i))
		on[c.Owner(sessionKey(r))] = append(on[c.Owner(sessionKey(r))], r)
	}
	if len(on) != 3 {
		w.t.Fatalf("%d sessions are on %d masters: the test shows nothing", n, len(on))
	}
	return on
}

// TestDeadShardLeavesTheOthersAlone kills one of three masters: sessions on the
// others go on as if nothing had happened, those on the dead one get an error in
// time and are as before when it is back (faults 1 and 2).
func TestDeadShardLeavesTheOthersAlone(t *testing.T) {
	for name, fault := range map[string]func(*testserver.RedisServer) (end func()){
		"dead":   func(s *testserver.RedisServer) func() { s.Kill(); return s.Start },
		"frozen": func(s *testserver.RedisServer) func() { s.Pause(5 * time.Minute); return s.Resume },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c := testserver.StartCluster(t, false)
			w := watch(t, c.URL)
			on := w.spread(c, 24)
			// Not the one with the members' index and the pending sign-ins.
			dead := (c.Owner(`ssogate:m:{"m1"}`) + 1) % 3
			end := fault(c.Nodes[dead])
			// A few failures teach the breaker; from then on nobody waits.
			w.wantErrors(on[dead], 12)
			for i, list := range on {
				if i != dead {
					w.wantAll(list)
				}
			}
			if err := w.Ping(t.Context()); err != nil {
				t.Errorf("ping: %v; readiness that goes down takes the sessions on all others along", err)
			}
			if up := w.metric("session_store_up"); up != 0 {
				t.Errorf("session_store_up %v, want 0: sessions are missing", up)
			}
			if n := w.lines("redis is down"); n != 1 || w.lines(c.Nodes[dead].Addr) == 0 {
				t.Errorf("%d lines say which server is down, want 1:\n%s", n, w.log.String())
			}
			w.touchAround(on, dead)
			w.endAround(on, dead)
			end()
			for _, r := range on[dead] {
				w.wantLive(r)
			}
			if n, err := w.Sessions().DeleteMember(t.Context(), "m1", 99); err != nil || n != len(on[dead]) {
				t.Errorf("cut off again: %d, %v; want the rest: %d", n, err, len(on[dead]))
			}
			wait(t, "all is well", func() bool { return w.Ping(t.Context()) == nil && w.metric("session_store_up") == 1 })
		})
	}
}

func (w *watched) wantErrors(list []session.Record, rounds int) {
	w.t.Helper()
	for i := range rounds {
		r := list[i%len(list)]
		start := time.Now()
		_, err := w.Sessions().Get(w.t.Context(), r.Hash)
		if took := time.Since(start); took > redis.DefaultTimeout+slack {
			w.t.Errorf("fault 2: %v, want at most %v", took, redis.DefaultTimeout)
		}
		if err == nil || errors.Is(err, session.ErrNotFound) || errors.Is(err, session.ErrMismatch) {
			w.t.Errorf("G2: a session on a dead master: %v", err)
		}
	}
}

// wantAll reads each session. A busy machine may cost one its time: it is asked twice.
func (w *watched) wantAll(list []session.Record) {
	w.t.Helper()
	for _, r := range list {
		got, err := w.Sessions().Get(w.t.Context(), r.Hash)
		if err != nil {
			got, err = w.Sessions().Get(w.t.Context(), r.Hash)
		}
		if err != nil || got.Hash != r.Hash {
			w.t.Errorf("a session on a master that lives: %+v, %v", got, err)
		}
	}
}

// touchAround writes all idle times back: those on live masters arrive.
func (w *watched) touchAround(on map[int][]session.Record, dead int) {
	w.t.Helper()
	var uses []session.Use
	later := time.Now().Add(time.Minute).Truncate(time.Millisecond)
	for _, list := range on {
		for _, r := range list {
			uses = append(uses, session.Used(r.Hash, later)...)
		}
	}
	if err := w.Sessions().Touch(w.t.Context(), uses); err == nil {
		w.t.Error("touch of sessions on a dead master: no error")
	}
	for i, list := range on {
		if i == dead {
			continue
		}
		for _, r := range list {
			if got, err := w.Sessions().Get(w.t.Context(), r.Hash); err != nil || !got.LastSeen.Equal(later) {
				w.t.Errorf("touch did not reach a live master: %+v, %v", got, err)
			}
		}
	}
}

// endAround cuts the member off: what can be deleted is, and the caller is told
// to come again.
func (w *watched) endAround(on map[int][]session.Record, dead int) {
	w.t.Helper()
	n, err := w.Sessions().DeleteMember(w.t.Context(), "m1", 99)
	if err == nil {
		w.t.Error("cut off with a dead master: no error")
	}
	if want := 24 - len(on[dead]); n != want {
		w.t.Errorf("cut off %d sessions, want the %d that can be reached", n, want)
	}
	for i, list := range on {
		if i == dead {
			continue
		}
		for _, r := range list {
			if _, err := w.Sessions().Get(w.t.Context(), r.Hash); !errors.Is(err, session.ErrNotFound) {
				w.t.Errorf("still there: %v", err)
			}
		}
	}
}

// TestClusterFailover: a replica takes over, and its sessions are found without
// waiting for the client's routine look at the cluster.
func TestClusterFailover(t *testing.T) {
	t.Parallel()
	c := testserver.StartCluster(t, true)
	w := watch(t, c.URL)
	on := w.spread(c, 12)
	for i := range 3 {
		c.Nodes[i].AwaitInStep()
	}
	w.during(on[0][0], func() {
		c.Nodes[0].Kill()
		c.AwaitFailover(0)
	})
	for _, list := range on {
		for _, r := range list {
			w.wantLive(r)
		}
	}
	w.wantWritable("after")
	c.Nodes[0].Start() // comes back as a replica
	c.AwaitOK()
	for _, list := range on {
		for _, r := range list {
			w.wantLive(r)
		}
	}
}

// TestMovingSlots: the slot of a session, of a member and of the pending records
// moves while they are used: ASK in between, MOVED afterwards, scripts unknown at
// the new master. Nothing is lost and nothing done twice.
func TestMovingSlots(t *testing.T) {
	t.Parallel()
	c := testserver.StartCluster(t, false)
	w := watchPatiently(t, c.URL)
	r := w.create("a")
	until := time.Now().Add(time.Hour)
	key := func(kind sso.RecordKind, name string) sso.Key { return sso.Key{Kind: kind, Hash: secret.Sum(name)} }
	for i := range 4 {
		if err := w.Pending().Put(t.Context(), key(sso.KindCode, fmt.Sprint(i)), []byte("v"), until); err != nil {
			t.Fatal(err)
		}
	}
	use := func(when string, n int) {
		if got, err := w.Sessions().Get(t.Context(), r.Hash); err != nil || got.Hash != r.Hash {
			t.Errorf("%s: get: %v", when, err)
		}
		if err := w.Sessions().Touch(t.Context(), session.Used(r.Hash, time.Now().Add(time.Duration(n)*time.Second))); err != nil {
			t.Errorf("%s: touch: %v", when, err)
		}
		if list, err := w.Sessions().List(t.Context(), "m1"); err != nil || len(list) != 1 {
			t.Errorf("%s: list: %d, %v", when, len(list), err)
		}
		k := key(sso.KindCode, fmt.Sprint(n))
		if _, err := w.Pending().Take(t.Context(), k); err != nil {
			t.Errorf("%s: take: %v", when, err)
		}
		if _, err := w.Pending().Take(t.Context(), k); !errors.Is(err, sso.ErrNoRecord) {
			t.Errorf("%s: taken twice: %v", when, err)
		}
	}
	use("before", 0)
	n := 1
	for _, k := range []string{sessionKey(r), `ssogate:m:{"m1"}`, "ssogate:{pending}:"} {
		to := (c.Owner(k) + 1) % 3
		if _, err := c.Nodes[to].Do("SCRIPT", "FLUSH"); err != nil {
			t.Fatal(err)
		}
		c.MoveSlot(k, to, func() {
			if strings.Contains(k, "pending") {
				return // several keys, not all of them there: TRYAGAIN until it has moved
			}
			if got, err := w.Sessions().Get(t.Context(), r.Hash); err != nil || got.Hash != r.Hash {
				t.Errorf("%s is moving: get: %v", k, err)
			}
			if err := w.Sessions().Touch(t.Context(), session.Used(r.Hash, time.Now().Add(time.Minute))); err != nil {
				t.Errorf("%s is moving: touch: %v", k, err)
			}
		})
		use("moved "+k, n)
		n++
	}
	if w.metric("redis_failover_total") == 0 {
		t.Error("redirects were not counted")
	}
	if n, err := w.Sessions().DeleteMember(t.Context(), "m1", 99); err != nil || n != 1 {
		t.Errorf("cut off: %d, %v", n, err)
	}
}

// TestTouchInBatches: more than one batch, on servers that do not know the
// script, with sessions that are gone among them, which stay gone (C6).
func TestTouchInBatches(t *testing.T) {
	for name, start := range topologies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := start(t)
			w, c := watchPatiently(t, url), raw(t, url)
			now := time.Now().Truncate(time.Millisecond)
			const n = 600
			uses := make([]session.Use, n)
			for i := range uses {
				r := sessiontest.Record(fmt.Sprint(i), "m1", now)
				uses[i] = session.Use{Hash: r.Hash, Seen: now.Add(time.Minute)}
				if i%3 != 0 {
					continue // never existed
				}
				if err := w.Sessions().Create(t.Context(), r); err != nil {
					t.Fatal(err)
				}
				if i%2 == 0 {
					if err := w.Sessions().Delete(t.Context(), r.Hash); err != nil {
						t.Fatal(err)
					}
				}
			}
			forEach(t, c, func(node *goredis.Client) { node.ScriptFlush(t.Context()) })
			for range 2 { // by its text, then by its digest
				if err := w.Sessions().Touch(t.Context(), uses); err != nil {
					t.Fatal(err)
				}
			}
			for i, u := range uses {
				got, err := w.Sessions().Get(t.Context(), u.Hash)
				switch alive := i%3 == 0 && i%2 == 1; {
				case alive && (err != nil || !got.LastSeen.Equal(now.Add(time.Minute))):
					t.Fatalf("%d: %+v, %v; want the new time", i, got, err)
				case !alive && !errors.Is(err, session.ErrNotFound):
					t.Fatalf("C6: %d came back: %v", i, err)
				}
			}
			keys := 0
			forEach(t, c, func(node *goredis.Client) { keys += len(node.Keys(t.Context(), "ssogate:s:*").Val()) })
			if keys != n/6 {
				t.Errorf("C6: %d session keys, want %d", keys, n/6)
			}
		})
	}
}

// forEach runs f on every master.
func forEach(t *testing.T, c goredis.UniversalClient, f func(*goredis.Client)) {
	t.Helper()
	switch c := c.(type) {
	case *goredis.Client:
		f(c)
	case *goredis.ClusterClient:
		a := []*goredis.Client{}
		seen := map[string]bool{}
		for i := range 64 {
			node, err := c.MasterForKey(t.Context(), fmt.Sprint(i))
			if err != nil {
				t.Fatal(err)
			}
			if !seen[node.Options().Addr] {
				seen[node.Options().Addr] = true
				a = append(a, node)
			}
		}
		for _, node := range a {
			f(node)
		}
	default:
		t.Fatalf("%T", c)
	}
}

// TestForgetLeavesNothing on any master, and nothing of anybody else's touched.
func TestForgetLeavesNothing(t *testing.T) {
	servers(t, func(t *testing.T, place func(*testing.T) redis.Options) {
		o := place(t)
		mine, c := open(t, o), raw(t, o.URL)
		if o.Prefix == "" {
			o.Prefix = "mine:"
			mine = open(t, o)
		}
		for i := range 30 {
			if err := mine.Sessions().Create(t.Context(), sessiontest.Record(fmt.Sprint(i), "m1", time.Now())); err != nil {
				t.Fatal(err)
			}
		}
		c.Set(t.Context(), "other", "x", 0)
		if err := mine.Forget(t.Context()); err != nil {
			t.Fatal(err)
		}
		forEach(t, c, func(node *goredis.Client) {
			for _, k := range node.Keys(t.Context(), o.Prefix+"*").Val() {
				t.Errorf("left behind: %s", k)
			}
		})
		if c.Get(t.Context(), "other").Val() != "x" {
			t.Error("somebody else's key is gone")
		}
		o.Prefix = redis.DefaultPrefix
		if err := open(t, o).Forget(t.Context()); err == nil {
			t.Error("forgot what a real gateway may keep")
		}
	})
}
