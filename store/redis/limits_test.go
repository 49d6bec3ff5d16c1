package redis_test

import (
	"testing"
	"time"

	"github.com/ssogate/ssogate/internal/testserver"
	"github.com/ssogate/ssogate/sso"
	"github.com/ssogate/ssogate/sso/ssotest"
	"github.com/ssogate/ssogate/store/redis"
)

func TestLimits(t *testing.T) {
	servers(t, func(t *testing.T, place func(*testing.T) redis.Options) {
		ssotest.Shares(t, func(t *testing.T) (a, b sso.Shares) {
			o := place(t)
			return open(t, o).Limits(), open(t, o).Limits()
		})
	})
}

// TestLimitsComeBackAndEnd: tokens return with time, and a bucket that is full
// again leaves nothing behind.
func TestLimitsComeBackAndEnd(t *testing.T) {
	srv := testserver.StartRedis(t)
	d := open(t, redis.Options{URL: srv.URL, Timeout: patient})
	const limit, per = 100, 2 * time.Second
	taken := 0
	for range limit + 1 {
		if ok, err := d.Limits().Take(t.Context(), "ann", limit, per); err != nil {
			t.Fatal(err)
		} else if ok {
			taken++
		}
	}
	if taken < limit {
		t.Errorf("took %d of %d", taken, limit)
	}
	wait(t, "one is back", func() bool {
		ok, err := d.Limits().Take(t.Context(), "ann", limit, per)
		return err == nil && ok
	})
	keys := raw(t, srv.URL).Keys(t.Context(), "*").Val()
	if len(keys) != 1 {
		t.Fatalf("keys %q, want one", keys)
	}
	if ttl := raw(t, srv.URL).PTTL(t.Context(), keys[0]).Val(); ttl <= 0 || ttl > per+time.Second {
		t.Errorf("%s lives for %v", keys[0], ttl)
	}
	for _, bad := range []struct {
		limit int
		per   time.Duration
	}{{0, per}, {-1, per}, {1, 0}} {
		if ok, err := d.Limits().Take(t.Context(), "x", bad.limit, bad.per); ok || err == nil {
			t.Errorf("%+v: %v, %v", bad, ok, err)
		}
	}
}

// TestLimitsCannotTell: without a server, or with an answer that belongs to
// another call, the caller is told in time that he must count alone.
func TestLimitsCannotTell(t *testing.T) {
	srv := testserver.StartRedis(t)
	w := watch(t, srv.URL)
	srv.Pause(time.Minute)
	for range 4 {
		start := time.Now()
		if ok, err := w.Limits().Take(t.Context(), "a", 1, time.Hour); ok || err == nil {
			t.Errorf("a frozen server: %v, %v", ok, err)
		}
		if err := w.Limits().GiveBack(t.Context(), "a", 1, time.Hour); err == nil {
			t.Error("gave back to a frozen server")
		}
		if took := time.Since(start); took > 2*(redis.DefaultTimeout+slack) {
			t.Errorf("took %v", took)
		}
	}
	for _, answer := range []string{"*0\r\n", ":1\r\n", "$-1\r\n", "*4\r\n:1\r\n:1\r\n:1\r\n:1\r\n", "*1\r\n:1\r\n", "+OK\r\n"} {
		fake := startFake(t, func([]string) string { return answer })
		f := watchPatiently(t, "redis://"+fake.Addr)
		if ok, err := f.Limits().Take(t.Context(), "a", 1, time.Hour); ok || err == nil {
			t.Errorf("K09: %q: %v, %v", answer, ok, err)
		}
	}
}
