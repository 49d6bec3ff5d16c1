package redis_test

import (
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/testserver"
	"github.com/ssogate/ssogate/session"
	"github.com/ssogate/ssogate/session/sessiontest"
	"github.com/ssogate/ssogate/sso"
	"github.com/ssogate/ssogate/sso/ssotest"
	"github.com/ssogate/ssogate/store/redis"
)

// patient is the time limit of tests that are not about time: their machine may
// be busy with other packages.
const patient = 10 * time.Second

// open answers a DB for a test; it is closed with it.
func open(t *testing.T, o redis.Options) *redis.DB {
	t.Helper()
	d, _, err := redis.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// servers runs f on both kinds of server. url answers that of an empty one.
func servers(t *testing.T, f func(t *testing.T, url func(t *testing.T) string)) {
	t.Run("miniredis", func(t *testing.T) {
		f(t, func(t *testing.T) string { return "redis://" + miniredis.RunT(t).Addr() })
	})
	t.Run("redis-server", func(t *testing.T) {
		f(t, func(t *testing.T) string { return testserver.Redis(t) })
	})
}

func TestSessions(t *testing.T) {
	servers(t, func(t *testing.T, url func(*testing.T) string) {
		sessiontest.Store(t, func(t *testing.T, now clock.Func) session.Store {
			return open(t, redis.Options{URL: url(t), Now: now, Timeout: patient}).Sessions()
		})
	})
}

func TestPending(t *testing.T) {
	servers(t, func(t *testing.T, url func(*testing.T) string) {
		ssotest.Pending(t, func(t *testing.T, now clock.Func) sso.Pending {
			return open(t, redis.Options{URL: url(t), Now: now, Timeout: patient, Budget: ssotest.PendingBudget}).Pending()
		})
	})
}
