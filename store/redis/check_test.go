package redis_test

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/ssogate/ssogate/internal/testserver"
	"github.com/ssogate/ssogate/store/redis"
)

// TestEveryMasterIsChecked: one that evicts among three that do not, and a
// replica that evicts once it has taken over.
func TestEveryMasterIsChecked(t *testing.T) {
	evict := func(srv *testserver.RedisServer, policy string) {
		for _, kv := range [][2]string{{"maxmemory", "64mb"}, {"maxmemory-policy", policy}} {
			if _, err := srv.Do("CONFIG", "SET", kv[0], kv[1]); err != nil {
				t.Error(err)
			}
		}
	}
	t.Run("cluster", func(t *testing.T) {
		t.Parallel()
		c := testserver.StartCluster(t, false)
		for _, srv := range c.Nodes {
			evict(srv, "allkeys-lru")
			if _, _, err := redis.Open(t.Context(), redis.Options{URL: c.URL, Timeout: patient}); !errors.Is(err, redis.ErrEviction) {
				t.Errorf("%s evicts: %v, want ErrEviction", srv.Addr, err)
			}
			evict(srv, "noeviction")
		}
		if err := open(t, redis.Options{URL: c.URL, Timeout: patient}).Ping(t.Context()); err != nil {
			t.Errorf("the benign twin: %v", err)
		}
	})
	t.Run("sentinel", func(t *testing.T) {
		t.Parallel()
		s := testserver.StartSentinel(t)
		for _, srv := range s.Servers {
			if srv != s.Primary() {
				evict(srv, "volatile-lru")
			}
		}
		d := open(t, redis.Options{URL: s.URL, Timeout: patient})
		if err := d.Ping(t.Context()); err != nil {
			t.Fatalf("the replica is none of our business: %v", err)
		}
		s.Failover()
		wait(t, "the new primary is looked at", func() bool { return errors.Is(d.Ping(t.Context()), redis.ErrEviction) })
	})
	t.Run("changed while we run", func(t *testing.T) {
		t.Parallel()
		srv := testserver.StartRedis(t)
		d := open(t, redis.Options{URL: srv.URL, Timeout: patient})
		evict(srv, "allkeys-random")
		if err := d.Ping(t.Context()); !errors.Is(err, redis.ErrEviction) {
			t.Errorf("%v, want ErrEviction", err)
		}
	})
}

func TestOldServersAreRefusedByName(t *testing.T) {
	for version, fits := range map[string]bool{
		"5.0.14": false, "6.0.16": false, "6.1.240": false, "6.2.0": true, "7.0.15": true, "10.0": true, "6.2": true, "unstable": true,
	} {
		srv := startFake(t, func(args []string) string {
			switch args[0] {
			case "info":
				text := "redis_version:" + version + "\r\nmaxmemory:0\r\nmaxmemory_policy:noeviction\r\n"
				return fmt.Sprintf("$%d\r\n%s\r\n", len(text), text)
			case "eval", "evalsha":
				return "*0\r\n"
			case "subscribe":
				return "*3\r\n$9\r\nsubscribe\r\n$1\r\nx\r\n:1\r\n"
			}
			return "-ERR unknown command\r\n"
		})
		d, warnings, err := redis.Open(t.Context(), redis.Options{URL: "redis://" + srv.Addr, Timeout: patient})
		if err == nil {
			_ = d.Close()
		}
		switch {
		case fits && (err != nil || len(warnings) > 0):
			t.Errorf("%s: %v, %q", version, err, warnings)
		case !fits && (!errors.Is(err, redis.ErrVersion) || !strings.Contains(err.Error(), version)):
			t.Errorf("%s: %v, want ErrVersion that names it", version, err)
		}
	}
}

// TestURLOfTheWrongKind says what to write instead.
func TestURLOfTheWrongKind(t *testing.T) {
	c := testserver.StartCluster(t, false)
	if _, _, err := redis.Open(t.Context(), redis.Options{URL: "redis://" + c.Nodes[0].Addr, Timeout: patient}); !errors.Is(err, redis.ErrKind) {
		t.Errorf("one node of a cluster: %v, want ErrKind", err)
	}
	srv := testserver.StartRedis(t)
	_, warnings, err := redis.Open(t.Context(), redis.Options{URL: "redis+cluster://" + srv.Addr, Timeout: patient})
	if !strings.Contains(fmt.Sprint(warnings, err), "cluster support disabled") {
		t.Errorf("no cluster: %q, %v; want the server's own words", warnings, err)
	}
}
