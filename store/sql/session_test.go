package sql

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/internal/testserver"
	"github.com/ssogate/ssogate/session"
	"github.com/ssogate/ssogate/session/sessiontest"
	"github.com/ssogate/ssogate/sso"
	"github.com/ssogate/ssogate/sso/ssotest"
)

// sessionEngines runs f on both real engines. Both start empty and are shared by
// the cases of f, which call clear.
func sessionEngines(t *testing.T, f func(t *testing.T, d *DB)) {
	for name, url := range map[string]func(*testing.T) string{
		"sqlite":   func(t *testing.T) string { return "sqlite:" + filepath.Join(t.TempDir(), "test.db") },
		"postgres": func(t *testing.T) string { return testserver.Postgres(t) },
	} {
		t.Run(name, func(t *testing.T) {
			f(t, openSessionDB(t, url(t)))
		})
	}
}

func openSessionDB(t *testing.T, url string) *DB {
	t.Helper()
	d, err := Open(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

func clearSessions(t *testing.T, d *DB) {
	t.Helper()
	for _, table := range []string{"sessions", "pending", "pending_budget"} {
		if _, err := d.writes.ExecContext(t.Context(), "DELETE FROM "+table); err != nil {
			t.Fatal(err)
		}
	}
}

func rowsOf(t *testing.T, d *DB, table string) (n int) {
	t.Helper()
	if err := d.reads.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM "+table).Scan(&n); err != nil {
		t.Fatal(err)
	}
	return n
}

func TestSessions(t *testing.T) {
	sessionEngines(t, func(t *testing.T, d *DB) {
		sessiontest.Store(t, func(t *testing.T, now clock.Func) session.Store {
			clearSessions(t, d)
			return d.Sessions(now, nil)
		})
	})
}

func TestPending(t *testing.T) {
	sessionEngines(t, func(t *testing.T, d *DB) {
		ssotest.Pending(t, func(t *testing.T, now clock.Func) sso.Pending {
			clearSessions(t, d)
			return d.Pending(now, ssotest.PendingBudget)
		})
	})
}

// TestSessionsSurviveARestart: the embedded mode signs nobody out when the
// process is replaced, and forgets no assertion that was used (S17).
func TestSessionsSurviveARestart(t *testing.T) {
	url := "sqlite:" + filepath.Join(t.TempDir(), "test.db")
	d := openSessionDB(t, url)
	r := sessiontest.Record("a", "m1", time.Now())
	used := sso.Key{Kind: sso.KindAssertion, Hash: secret.Sum("used")}
	login := sso.Key{Kind: sso.KindLogin, Hash: secret.Sum("login")}
	if err := errors.Join(
		d.Sessions(nil, nil).Create(t.Context(), r),
		d.Pending(nil, 0).Once(t.Context(), used, time.Now().Add(time.Hour)),
		d.Pending(nil, 0).Put(t.Context(), login, []byte("v"), time.Now().Add(time.Hour)),
		d.Close(),
	); err != nil {
		t.Fatal(err)
	}
	d = openSessionDB(t, url)
	if got, err := d.Sessions(nil, nil).Get(t.Context(), r.Hash); err != nil || got != r {
		t.Errorf("session after the restart: %+v, %v", got, err)
	}
	if err := d.Pending(nil, 0).Once(t.Context(), used, time.Now().Add(time.Hour)); !errors.Is(err, sso.ErrUsed) {
		t.Errorf("S17: replay after the restart: %v, want ErrUsed", err)
	}
	if got, err := d.Pending(nil, 0).Take(t.Context(), login); err != nil || string(got[0]) != "v" {
		t.Errorf("pending sign-in after the restart: %q, %v", got, err)
	}
}

// TestWrongSessionRows alters what is stored: refused, counted, and nobody else
// notices (K09).
func TestWrongSessionRows(t *testing.T) {
	sessionEngines(t, func(t *testing.T, d *DB) {
		metrics, err := NewSessionMetrics(prometheus.NewRegistry())
		if err != nil {
			t.Fatal(err)
		}
		s, count := d.Sessions(nil, metrics), metrics.mismatches
		victim := sessiontest.Record("victim", "m1", time.Now())
		if err := s.Create(t.Context(), victim); err != nil {
			t.Fatal(err)
		}
		for name, set := range map[string]string{
			"future version": "version = 2", "no version": "version = 0", "no member": "member = ''",
			"no issue time": "issued = 0", "no last seen": "last_seen = 0", "ends before it starts": "expires = 1",
		} {
			t.Run(name, func(t *testing.T) {
				r := sessiontest.Record(name, "m1", time.Now())
				if err := s.Create(t.Context(), r); err != nil {
					t.Fatal(err)
				}
				if got, err := s.Get(t.Context(), r.Hash); err != nil || got != r {
					t.Fatalf("the benign twin: %+v, %v", got, err)
				}
				before := counted(t, count)
				if _, err := d.writes.ExecContext(t.Context(), "UPDATE sessions SET "+set+" WHERE hash = $1", r.Hash.String()); err != nil {
					t.Fatal(err)
				}
				if got, err := s.Get(t.Context(), r.Hash); !errors.Is(err, session.ErrMismatch) {
					t.Errorf("K09: got %+v, %v; want ErrMismatch", got, err)
				}
				if n := counted(t, count) - before; n != 1 {
					t.Errorf("K09: counted %v times, want once", n)
				}
				if l, err := s.List(t.Context(), "m1"); err != nil || len(l) != 1 || l[0] != victim {
					t.Errorf("K09: list %+v, %v; want only the good one", l, err)
				}
			})
		}
	})
}

// TestSessionStoreUp: the gauge follows the database, not the callers.
func TestSessionStoreUp(t *testing.T) {
	d := openSessionDB(t, "sqlite:"+filepath.Join(t.TempDir(), "test.db"))
	metrics, err := NewSessionMetrics(prometheus.NewRegistry())
	if err != nil {
		t.Fatal(err)
	}
	s, r := d.Sessions(nil, metrics), sessiontest.Record("a", "m1", time.Now())
	want := func(up float64, when string) {
		t.Helper()
		var m dto.Metric
		if err := metrics.up.Write(&m); err != nil || m.GetGauge().GetValue() != up {
			t.Errorf("session_store_up %v, want %v %s (%v)", m.GetGauge().GetValue(), up, when, err)
		}
	}
	if _, err := s.Get(t.Context(), r.Hash); !errors.Is(err, session.ErrNotFound) {
		t.Fatal(err)
	}
	want(1, "after an answer, even 'not found'")
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.Get(gone, r.Hash); err == nil {
		t.Error("get succeeded for a caller who gave up")
	}
	want(1, "after a caller gave up")
	if err := d.Close(); err != nil {
		t.Fatal(err)
	}
	if err := s.Create(t.Context(), r); err == nil {
		t.Error("created in a closed database")
	}
	want(0, "once the database is gone")
}

func counted(t *testing.T, c prometheus.Counter) float64 {
	t.Helper()
	var m dto.Metric
	if err := c.Write(&m); err != nil {
		t.Fatal(err)
	}
	return m.GetCounter().GetValue()
}

// TestSweep removes what has expired, more than one batch of it, and nothing else.
func TestSweep(t *testing.T) {
	sessionEngines(t, func(t *testing.T, d *DB) {
		clk := &clock.Manual{}
		s, p := d.Sessions(clk.Now, nil), d.Pending(clk.Now, 2*sweepBatch)
		key := func(i int) sso.Key {
			return sso.Key{Kind: sso.KindLogin, Hash: secret.Sum(fmt.Sprint("login", i))}
		}
		const expiring = sweepBatch + 20
		start := clk.Now()
		for i := range expiring {
			r := sessiontest.Record(fmt.Sprint("short", i), "m1", start)
			r.Expires = start.Add(time.Hour)
			if err := errors.Join(s.Create(t.Context(), r), p.Put(t.Context(), key(i), []byte("v"), r.Expires)); err != nil {
				t.Fatal(err)
			}
		}
		live := sessiontest.Record("live", "m1", start)
		live.Expires = start.Add(48 * time.Hour)
		live = live.Stored()
		if err := errors.Join(s.Create(t.Context(), live), p.Put(t.Context(), key(-1), []byte("v"), live.Expires)); err != nil {
			t.Fatal(err)
		}
		sweep := func() {
			t.Helper()
			if err := errors.Join(s.Sweep(t.Context()), p.Sweep(t.Context())); err != nil {
				t.Fatal(err)
			}
		}
		sweep()
		if n, m := rowsOf(t, d, "sessions"), rowsOf(t, d, "pending"); n != expiring+1 || m != expiring+1 {
			t.Fatalf("a sweep before the end left %d sessions and %d pending, want all %d", n, m, expiring+1)
		}
		// The budget was miscounted by an administrator: a sweep puts it right.
		if _, err := d.writes.ExecContext(t.Context(), "UPDATE pending_budget SET records = 999999"); err != nil {
			t.Fatal(err)
		}
		clk.Advance(2 * time.Hour)
		sweep()
		if n, m := rowsOf(t, d, "sessions"), rowsOf(t, d, "pending"); n != expiring+1 || m != 1 {
			t.Errorf("%d sessions and %d pending left, want those that are remembered and the live one", n, m)
		}
		clk.Advance(session.Remembered)
		sweep()
		if n := rowsOf(t, d, "sessions"); n != 1 {
			t.Errorf("%d sessions left a day later, want the live one", n)
		}
		if got, err := s.Get(t.Context(), live.Hash); err != nil || got != live {
			t.Errorf("the live session: %+v, %v", got, err)
		}
		if err := p.Put(t.Context(), key(-2), nil, clk.Now().Add(time.Hour)); err != nil {
			t.Errorf("C13: put after a sweep: %v", err)
		}
	})
}
