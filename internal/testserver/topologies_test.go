package testserver_test

import (
	"strings"
	"testing"

	"github.com/ssogate/ssogate/internal/testserver"
)

// The servers do what their names say, else every test on them shows nothing.
func TestSentinelFailsOver(t *testing.T) {
	t.Parallel() // mostly waiting
	s := testserver.StartSentinel(t)
	old := s.Primary()
	next := s.Failover()
	if next == old || s.Primary() != next {
		t.Fatalf("failed over from %s to %s; the primary is %s", old.Addr, next.Addr, s.Primary().Addr)
	}
	next.Kill()
	if got := s.AwaitFailover(next); got != old {
		t.Fatalf("after the crash %s took over, want %s", got.Addr, old.Addr)
	}
}

func TestSentinelSplitBrain(t *testing.T) {
	t.Parallel() // mostly waiting
	s := testserver.StartSentinel(t)
	old, next := s.Isolate()
	for _, srv := range []*testserver.RedisServer{old, next} {
		if out, err := srv.Do("SET", "k", srv.Addr); err != nil || out != "OK" {
			t.Errorf("%s does not take writes: %q, %v", srv.Addr, out, err)
		}
	}
	s.Rejoin(old)
	if got, err := old.Do("GET", "k"); err != nil || got != next.Addr {
		t.Errorf("after the split the old primary holds %q, %v; want what the new one has", got, err)
	}
}

func TestClusterFailsOverAndMovesSlots(t *testing.T) {
	t.Parallel() // mostly waiting
	c := testserver.StartCluster(t, true)
	i := c.Owner("{a}")
	if out, err := c.Nodes[i].Do("SET", "{a}", "1"); err != nil || out != "OK" {
		t.Fatalf("set: %q, %v", out, err)
	}
	to := (i + 1) % 3
	c.MoveSlot("{a}", to, func() {
		if _, err := c.Nodes[i].Do("GET", "{a}"); err == nil || !strings.HasPrefix(err.Error(), "ASK") {
			t.Errorf("while moving: %v, want ASK", err)
		}
	})
	if _, err := c.Nodes[i].Do("GET", "{a}"); err == nil || !strings.HasPrefix(err.Error(), "MOVED") {
		t.Errorf("moved: %v, want MOVED", err)
	}
	if out, err := c.Nodes[to].Do("GET", "{a}"); err != nil || out != "1" {
		t.Errorf("at the new master: %q, %v", out, err)
	}
	c.Nodes[to].Kill()
	next := c.AwaitFailover(to)
	if out, err := next.Do("GET", "{a}"); err != nil || out != "1" {
		t.Errorf("at the replica that took over: %q, %v", out, err)
	}
	c.Nodes[to].Start()
	c.AwaitOK()
}

func TestTLSEverywhere(t *testing.T) {
	t.Parallel() // mostly waiting
	files := testserver.NewTLS(t)
	if out, err := testserver.StartRedisTLS(t, files).Do("PING"); err != nil || out != "PONG" {
		t.Errorf("single: %q, %v", out, err)
	}
	if next := testserver.StartSentinelTLS(t, files).Failover(); next == nil {
		t.Error("no failover")
	}
	testserver.StartClusterTLS(t, files)
}
