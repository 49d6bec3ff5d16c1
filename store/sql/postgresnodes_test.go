package sql

import (
	"bytes"
	"context"
	"errors"
	"path/filepath"
	"testing"
	"time"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/testserver"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
	"github.com/ssogate/ssogate/session/sessiontest"
)

// until polls until ok, or fails the test.
func until(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("did not happen: " + what)
		}
	}
}

// waiting reports whether a statement on a table waits for a lock.
func waiting(t *testing.T, d *DB, table string) bool {
	t.Helper()
	var n int
	err := d.reads.QueryRowContext(t.Context(), `SELECT count(*) FROM pg_stat_activity
		WHERE datname = current_database() AND wait_event_type = 'Lock' AND query LIKE '%' || $1 || '%'`, table).Scan(&n)
	if err != nil {
		t.Fatal(err)
	}
	return n > 0
}

// silentOne joins a node that an Expel of this process would remove.
func silentOne(t *testing.T, d *DB, clk *clock.Manual, id string) {
	t.Helper()
	if err := d.Join(t.Context(), session.Node{ID: id}); err != nil {
		t.Fatal(err)
	}
	if n, err := d.Expel(t.Context(), time.Hour); n != 0 || err != nil {
		t.Fatalf("expelled %d, %v", n, err)
	}
	clk.Advance(2 * time.Hour)
}

// A lease and an expulsion that meet at one row: whoever comes second sees what
// the first did, though it began before the first committed (C8, fault 24).
func TestLeaseAndExpelThatMeetNeverBothSucceed_C8(t *testing.T) {
	t.Parallel()
	d, clk := open(t, testserver.Postgres(t)), &clock.Manual{}
	d.now = clk.Now
	type answer struct {
		n   int
		err error
	}
	for _, c := range []struct {
		name, first string
		commit      bool
		lease       bool // else Expel comes second
		listed      bool
	}{
		{"the lease waits for an expulsion", "DELETE FROM nodes WHERE id = $1", true, true, false},
		{"the lease waits for an expulsion that fails", "DELETE FROM nodes WHERE id = $1", false, true, true},
		{"the expulsion waits for a lease", "UPDATE nodes SET calls = calls + 1 WHERE id = $1", true, false, true},
		{"the expulsion waits for a lease that fails", "UPDATE nodes SET calls = calls + 1 WHERE id = $1", false, false, false},
	} {
		silentOne(t, d, clk, c.name)
		tx, err := d.writes.BeginTx(t.Context(), nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := tx.ExecContext(t.Context(), c.first, c.name); err != nil {
			t.Fatal(err)
		}
		done := make(chan answer, 1)
		go func() {
			var a answer
			if c.lease {
				_, a.err = d.Lease(t.Context(), c.name, 0, 10)
			} else {
				a.n, a.err = d.Expel(t.Context(), time.Hour)
			}
			done <- a
		}()
		until(t, "the second waits for the first: "+c.name, func() bool { return waiting(t, d, "nodes") })
		end := tx.Rollback
		if c.commit {
			end = tx.Commit
		}
		if err := end(); err != nil {
			t.Fatal(err)
		}
		a := <-done
		nodes, err := d.Nodes(t.Context())
		if err != nil || (len(nodes) == 1) != c.listed {
			t.Errorf("%s: registered %+v, %v; want %v", c.name, nodes, err, c.listed)
		}
		switch {
		case c.lease && !c.listed && !errors.Is(a.err, session.ErrNotRegistered):
			t.Errorf("%s: %v, want ErrNotRegistered", c.name, a.err)
		case (!c.lease || c.listed) && a.err != nil:
			t.Errorf("%s: %v", c.name, a.err)
		case !c.lease && (a.n == 0) != c.listed:
			t.Errorf("%s: expelled %d", c.name, a.n)
		}
		if err := d.Leave(t.Context(), c.name); err != nil {
			t.Fatal(err)
		}
	}
}

// A row that commits while a lease waits is either in its answer or newer than
// its Last: never counted and left out, which would be taken for swept (C1, C5).
func TestLeaseThatWaitedAnswersOneSnapshot_C5(t *testing.T) {
	t.Parallel()
	d := open(t, testserver.Postgres(t))
	if err := d.Join(t.Context(), session.Node{ID: "a"}); err != nil {
		t.Fatal(err)
	}
	revoke(t, d, member.Revocation{Kind: member.Recheck, Scope: member.ScopeAll})
	tx, err := d.writes.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := tx.ExecContext(t.Context(), "UPDATE nodes SET name = 'x' WHERE id = 'a'"); err != nil {
		t.Fatal(err)
	}
	var b session.Batch
	done := make(chan error, 1)
	go func() {
		var err error
		b, err = d.Lease(t.Context(), "a", 0, 10)
		done <- err
	}()
	until(t, "the lease waits", func() bool { return waiting(t, d, "nodes") })
	revoke(t, d, member.Revocation{Kind: member.Recheck, Scope: member.ScopeAll})
	if err := tx.Commit(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if b.Last != int64(len(b.Rows)) {
		t.Errorf("last is %d, with %d rows", b.Last, len(b.Rows))
	}
	if b, err = d.Lease(t.Context(), "a", b.Last, 10); err != nil || b.Last != 2 {
		t.Errorf("the next lease: %+v, %v", b, err)
	}
}

// The server's clock steps: nobody who calls is expelled by it (C9).
func TestClockOfTheServerExpelsNobody_C9(t *testing.T) {
	t.Parallel()
	d, clk := open(t, testserver.Postgres(t)), &clock.Manual{}
	d.now = clk.Now
	for _, id := range []string{"live", "dead"} {
		if err := d.Join(t.Context(), session.Node{ID: id}); err != nil {
			t.Fatal(err)
		}
	}
	total := 0
	for _, step := range []time.Duration{-1000 * time.Hour, 1000 * time.Hour} {
		for range 2 {
			if _, err := d.Lease(t.Context(), "live", 0, 10); err != nil {
				t.Fatal(err)
			}
			if _, err := d.writes.ExecContext(t.Context(), "UPDATE nodes SET seen = seen + $1 WHERE id = 'live'", step.Milliseconds()); err != nil {
				t.Fatal(err)
			}
			n, err := d.Expel(t.Context(), 3*time.Hour)
			if err != nil {
				t.Fatal(err)
			}
			total += n
			clk.Advance(2 * time.Hour)
		}
	}
	nodes, err := d.Nodes(t.Context())
	if err != nil || len(nodes) != 1 || nodes[0].ID != "live" || total != 1 {
		t.Errorf("registered %+v, %v; expelled %d; want the live one left", nodes, err, total)
	}
}

// Every connection that requests may use is busy: the lease and the registry go
// on, or the node would lose its lease exactly when it has the most to do.
func TestBusyConnectionsDoNotStarveTheLease(t *testing.T) {
	for name, url := range engines {
		t.Run(name, func(t *testing.T) {
			d := open(t, url(t))
			if err := d.Join(t.Context(), session.Node{ID: "a"}); err != nil {
				t.Fatal(err)
			}
			for range d.reads.Stats().MaxOpenConnections {
				c, err := d.reads.Conn(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = c.Close() }()
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			if _, err := d.Lease(ctx, "a", 0, 10); err != nil {
				t.Errorf("lease: %v", err)
			}
			if _, err := d.Nodes(ctx); err != nil {
				t.Errorf("nodes: %v", err)
			}
			if _, err := d.Expel(ctx, time.Hour); err != nil {
				t.Errorf("expel: %v", err)
			}
			if _, err := d.LastRevocation(ctx); err != nil {
				t.Errorf("last revocation: %v", err)
			}
		})
	}
}

// Two nodes write back the same sessions at once. Each takes the rows in one
// order, or they would wait for each other in a circle.
func TestTouchLocksSessionsInOneOrder(t *testing.T) {
	t.Parallel()
	d := open(t, testserver.Postgres(t))
	s, now := d.Sessions(nil, nil), time.Now()
	low, high := sessiontest.Record("1", "m1", now), sessiontest.Record("2", "m1", now)
	if bytes.Compare(low.Hash[:], high.Hash[:]) > 0 {
		low, high = high, low
	}
	if err := errors.Join(s.Create(t.Context(), high), s.Create(t.Context(), low)); err != nil {
		t.Fatal(err)
	}
	held, err := d.writes.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = held.Rollback() }()
	const lock = "SELECT 1 FROM sessions WHERE hash = $1 FOR UPDATE NOWAIT"
	if _, err := held.ExecContext(t.Context(), lock, low.Hash.String()); err != nil {
		t.Fatal(err)
	}
	later := now.Add(time.Minute).UTC().Truncate(time.Millisecond)
	done := make(chan error, 1)
	go func() {
		done <- s.Touch(t.Context(), []session.Use{{Hash: high.Hash, Seen: later}, {Hash: low.Hash, Seen: later}})
	}()
	until(t, "the touch waits for the first row", func() bool { return waiting(t, d, "unnest") })
	if _, err := held.ExecContext(t.Context(), lock, high.Hash.String()); err != nil {
		t.Errorf("it waits for the first row while it holds the second: %v", err)
	}
	if err := held.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	for _, r := range []session.Record{low, high} {
		if got, err := s.Get(t.Context(), r.Hash); err != nil || !got.LastSeen.Equal(later) {
			t.Errorf("last seen %v, %v", got.LastSeen, err)
		}
	}
}

func TestDirectoryIDIsOneForAllNodes(t *testing.T) {
	for name, url := range engines {
		t.Run(name, func(t *testing.T) {
			u := url(t)
			a := open(t, u)
			nodes := []*DB{a, a, a}
			if name == "PostgreSQL" {
				nodes = []*DB{a, open(t, u), open(t, u)}
			}
			ids := make(chan string, len(nodes))
			for _, d := range nodes {
				go func() {
					id, err := d.DirectoryID(t.Context())
					if err != nil || len(id) < 20 {
						t.Errorf("got %q, %v", id, err)
					}
					ids <- id
				}()
			}
			first := <-ids
			for range len(nodes) - 1 {
				if id := <-ids; id != first {
					t.Errorf("two names of one database: %s and %s", first, id)
				}
			}
			if again, err := a.DirectoryID(t.Context()); again != first || err != nil {
				t.Errorf("asked again: %s, %v; want %s", again, err, first)
			}
			other := open(t, "sqlite:"+filepath.Join(t.TempDir(), "other.db"))
			if id, err := other.DirectoryID(t.Context()); id == first || err != nil {
				t.Errorf("another database has the same name: %v", err)
			}
		})
	}
}
