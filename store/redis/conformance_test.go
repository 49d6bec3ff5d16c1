package redis_test

import (
	"fmt"
	"sync/atomic"
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

// servers runs f on every kind of server. place answers options for a part of it
// that is empty.
func servers(t *testing.T, f func(t *testing.T, place func(t *testing.T) redis.Options)) {
	t.Run("miniredis", func(t *testing.T) {
		f(t, func(t *testing.T) redis.Options {
			return redis.Options{URL: "redis://" + miniredis.RunT(t).Addr(), Timeout: patient}
		})
	})
	for name, start := range topologies {
		t.Run(name, func(t *testing.T) {
			t.Parallel() // each has servers of its own
			f(t, places(start(t)))
		})
	}
}

// topologies start real servers and answer their URL.
var topologies = map[string]func(t *testing.T) string{
	"redis-server": func(t *testing.T) string { return testserver.Redis(t) },
	"sentinel":     func(t *testing.T) string { return testserver.StartSentinel(t).URL },
	"cluster":      func(t *testing.T) string { return testserver.StartCluster(t, false).URL },
}

// places answers parts of one server, each with a prefix of its own: starting a
// cluster for each would take minutes.
func places(url string) func(t *testing.T) redis.Options {
	var n atomic.Int64
	return func(*testing.T) redis.Options {
		return redis.Options{URL: url, Prefix: fmt.Sprintf("t%d:", n.Add(1)), Timeout: patient}
	}
}

func TestSessions(t *testing.T) {
	servers(t, func(t *testing.T, place func(*testing.T) redis.Options) {
		sessiontest.Store(t, func(t *testing.T, now clock.Func) session.Store {
			o := place(t)
			o.Now = now
			d := open(t, o)
			d.Remember(true)
			return d.Sessions()
		})
	})
}

func TestPending(t *testing.T) {
	servers(t, func(t *testing.T, place func(*testing.T) redis.Options) {
		ssotest.Pending(t, func(t *testing.T, now clock.Func) sso.Pending {
			o := place(t)
			o.Now, o.Budget = now, ssotest.PendingBudget
			return open(t, o).Pending()
		})
	})
}
