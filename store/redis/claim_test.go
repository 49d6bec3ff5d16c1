package redis_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/ssogate/ssogate/session/sessiontest"
	"github.com/ssogate/ssogate/store/redis"
)

// TestClaim: two gateways with databases of their own cannot share one Redis by
// accident, and nodes of one gateway can.
func TestClaim(t *testing.T) {
	servers(t, func(t *testing.T, place func(*testing.T) redis.Options) {
		o := place(t)
		first, twin, stranger := open(t, o), open(t, o), open(t, o)
		for range 2 { // at every start
			if err := first.Claim(t.Context(), "a"); err != nil {
				t.Fatal(err)
			}
			if err := twin.Claim(t.Context(), "a"); err != nil {
				t.Errorf("the benign twin: %v", err)
			}
		}
		err := stranger.Claim(t.Context(), "b")
		if !errors.Is(err, redis.ErrDirectory) || !strings.Contains(err.Error(), "redis.prefix") {
			t.Errorf("another database: %v, want ErrDirectory that says what to do", err)
		}
		if err := stranger.Ping(t.Context()); !errors.Is(err, redis.ErrDirectory) {
			t.Errorf("ping: %v, want ErrDirectory", err)
		}
		r := sessiontest.Record("a", "m1", time.Now())
		if err := stranger.Sessions().Create(t.Context(), r); !errors.Is(err, redis.ErrDirectory) {
			t.Errorf("create: %v, want ErrDirectory", err)
		}
		if err := first.Sessions().Create(t.Context(), r); err != nil {
			t.Errorf("create on one's own: %v", err)
		}
		o.Prefix = "elsewhere-" + o.Prefix
		if err := open(t, o).Claim(t.Context(), "b"); err != nil {
			t.Errorf("another prefix: %v", err)
		}
	})
}

// TestClaimAfterAFlush: whoever looks first has the emptied server, and the other
// one is told.
func TestClaimAfterAFlush(t *testing.T) {
	for name, start := range topologies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			url := start(t)
			a, b := open(t, redis.Options{URL: url, Timeout: patient}), open(t, redis.Options{URL: url, Timeout: patient})
			if err := a.Claim(t.Context(), "a"); err != nil {
				t.Fatal(err)
			}
			_ = b.Claim(t.Context(), "b")
			flush := func() { forEachMaster(t, url, func(c goredis.UniversalClient) { c.FlushAll(t.Context()) }) }
			flush()
			if err := a.Ping(t.Context()); err != nil {
				t.Errorf("the owner claims it again: %v", err)
			}
			if err := b.Ping(t.Context()); !errors.Is(err, redis.ErrDirectory) {
				t.Errorf("the stranger: %v, want ErrDirectory", err)
			}
			flush()
			if err := b.Ping(t.Context()); err != nil {
				t.Errorf("now the other looked first: %v", err)
			}
			if err := a.Ping(t.Context()); !errors.Is(err, redis.ErrDirectory) {
				t.Errorf("the former owner: %v, want ErrDirectory", err)
			}
			if err := a.Sessions().Create(t.Context(), sessiontest.Record("a", "m1", time.Now())); !errors.Is(err, redis.ErrDirectory) {
				t.Errorf("create on what is somebody else's now: %v, want ErrDirectory", err)
			}
			forEachMaster(t, url, func(c goredis.UniversalClient) {
				if ttl := c.TTL(t.Context(), "ssogate:directory").Val(); ttl > 0 {
					t.Errorf("the mark ends in %v", ttl)
				}
			})
		})
	}
}

// forEachMaster runs f on every master, of Sentinel on the current one.
func forEachMaster(t *testing.T, url string, f func(goredis.UniversalClient)) {
	t.Helper()
	forEach(t, raw(t, url), func(c *goredis.Client) { f(c) })
}

func TestClaimWithoutServer(t *testing.T) {
	d := open(t, redis.Options{URL: "redis://127.0.0.1:1"})
	if err := d.Claim(t.Context(), ""); err == nil {
		t.Error("claimed for nobody")
	}
	if err := d.Claim(t.Context(), "a"); err == nil || errors.Is(err, redis.ErrDirectory) {
		t.Errorf("%v; that could not be known", err)
	}
}
