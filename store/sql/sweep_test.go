package sql

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
)

func TestSweepKeepsTombstonesThatAreStillNeeded_C6(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		err := d.Update(t.Context(), func(tx member.Tx) error {
			return errors.Join(tx.EndSession(member.EndedSession{Hash: "old", Until: day.Add(-time.Second - tombstonesKept)}),
				tx.EndSession(member.EndedSession{Hash: "over", Until: day.Add(-time.Second)}),
				tx.EndSession(member.EndedSession{Hash: "live", Until: day.Add(time.Second)}))
		})
		if err != nil {
			t.Fatal(err)
		}
		if n, err := d.SweepJournal(t.Context(), day); n != 1 || err != nil {
			t.Errorf("swept %d, %v", n, err)
		}
		_ = d.View(t.Context(), func(tx member.Tx) error {
			if over, _ := tx.SessionEnded("over"); !over {
				t.Error("a node whose clock is behind could still admit this session, and its tombstone is gone")
			}
			if live, _ := tx.SessionEnded("live"); !live {
				t.Error("a session that could still be shown is forgotten")
			}
			return nil
		})
	})
}

// Rows of the revocation log go from the beginning on, and none that anybody needs.
func TestSweepKeepsTheLogDenseAndWhatIsNeededOfIt_C1(t *testing.T) {
	const old, young = -61 * 24 * time.Hour, -59 * 24 * time.Hour
	row := func(at time.Duration, kind member.RevocationKind, scope member.RevocationScope) member.Revocation {
		r := member.Revocation{Kind: kind, Scope: scope, At: day.Add(at)}
		if scope != member.ScopeAll {
			r.Target = "x"
		}
		return r
	}
	o, y := row(old, member.Recheck, member.ScopeMember), row(young, member.Recheck, member.ScopeMember)
	end := row(old, member.End, member.ScopeMember)
	wide, youngWide := row(old, member.End, member.ScopeAll), row(young, member.End, member.ScopeProvider)
	for name, c := range map[string]struct {
		why      string
		rows     []member.Revocation
		finish   []int64
		nodes    []int64 // what each has acknowledged
		from     int64   // the first row left
		wideLast int64   // what EndedBefore answers afterwards
	}{
		"empty log":        {why: "nothing to remove is no fault", from: 1},
		"all old":          {why: "the newest row stays: the end of the log must be a row", rows: []member.Revocation{o, o, o}, from: 3},
		"one row":          {why: "as above", rows: []member.Revocation{o}, from: 1},
		"young":            {why: "younger than 60 days", rows: []member.Revocation{y, y, y}, from: 1},
		"young between":    {why: "a hole behind a young row would look like lost rows", rows: []member.Revocation{o, y, o, o}, from: 2},
		"unfinished":       {why: "somebody still has to tidy up (C2)", rows: []member.Revocation{o, end, o, o}, from: 2},
		"finished":         {why: "tidied", rows: []member.Revocation{o, end, o, o}, finish: []int64{2}, from: 4},
		"a node is behind": {why: "it must still read rows 3 and 4", rows: []member.Revocation{o, o, o, o, o}, nodes: []int64{5, 2}, from: 3},
		"all nodes read":   {why: "nobody needs them", rows: []member.Revocation{o, o, o, o, o}, nodes: []int64{5, 5}, from: 5},
		"wide, old":        {why: "no session can be older", rows: []member.Revocation{wide, o, o}, finish: []int64{1}, from: 3},
		"wide, young":      {why: "a session that began before it may live (EndedBefore)", rows: []member.Revocation{o, youngWide, o}, finish: []int64{2}, from: 2, wideLast: 2},
	} {
		t.Run(name, func(t *testing.T) {
			onEngines(t, func(t *testing.T, d *DB) {
				for _, r := range c.rows {
					revoke(t, d, r)
				}
				if err := d.Finish(t.Context(), c.finish...); err != nil {
					t.Fatal(err)
				}
				for i, a := range c.nodes {
					if err := d.Join(t.Context(), session.Node{ID: fmt.Sprint(i), Applied: a}); err != nil {
						t.Fatal(err)
					}
				}
				for range 2 { // the second finds nothing
					if _, err := d.SweepJournal(t.Context(), day); err != nil {
						t.Fatal(err)
					}
					wantLog(t, d, c.why, c.from, int64(len(c.rows)))
				}
				_ = d.View(t.Context(), func(tx member.Tx) error {
					if n, err := tx.EndedBefore("m", member.SessionRef{Provider: "x"}); n != c.wideLast || err != nil {
						t.Errorf("ended before %d, %v; want %d: %s", n, err, c.wideLast, c.why)
					}
					return nil
				})
				// Numbers go on, and a node from before the sweep can see the gap.
				if seq := revoke(t, d, y); seq != int64(len(c.rows))+1 {
					t.Errorf("the next row is %d", seq)
				}
				wantLog(t, d, c.why, c.from, int64(len(c.rows))+1)
			})
		})
	}
}

func TestSweepTakesSmallBatches(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		const n = 2*sweepBatch + 20
		err := d.Update(t.Context(), func(tx member.Tx) error {
			for i := range n {
				if err := tx.EndSession(member.EndedSession{Hash: fmt.Sprint(i), Until: day.Add(-24 * time.Hour)}); err != nil {
					return err
				}
			}
			for range n {
				if _, err := tx.Revoke(member.Revocation{Kind: member.Recheck, Scope: member.ScopeAll, At: day.Add(-100 * 24 * time.Hour)}); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		if removed, err := d.SweepJournal(t.Context(), day); err != nil || removed != n+n-1 {
			t.Errorf("removed %d, %v; want %d", removed, err, n+n-1)
		}
		wantLog(t, d, "the newest stays", n, n)
	})
}

func revoke(t *testing.T, d *DB, r member.Revocation) (seq int64) {
	t.Helper()
	err := d.Update(t.Context(), func(tx member.Tx) (err error) {
		seq, err = tx.Revoke(r)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return seq
}

// wantLog checks that exactly the rows from first to last are there, as a node
// that has applied nothing sees them.
func wantLog(t *testing.T, d *DB, why string, first, last int64) {
	t.Helper()
	id := fmt.Sprint("reader", time.Now().UnixNano())
	if err := d.Join(t.Context(), session.Node{ID: id}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = d.Leave(t.Context(), id) }()
	b, err := d.Lease(t.Context(), id, 0, 10000)
	if err != nil {
		t.Fatal(err)
	}
	if b.Last != last || int64(len(b.Rows)) != last-first+1 {
		t.Errorf("%d rows up to %d, want %d up to %d: %s", len(b.Rows), b.Last, last-first+1, last, why)
	}
	for i, r := range b.Rows {
		if r.Seq != first+int64(i) {
			t.Errorf("row %d is number %d, want %d: %s", i, r.Seq, first+int64(i), why)
			return
		}
	}
}
