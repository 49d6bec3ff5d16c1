package sessiontest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
)

// PrimaryStore is the SQL primary as nodes use it.
type PrimaryStore interface {
	session.Log
	session.Registry
	session.Finisher
}

// PrimaryUnderTest is one empty primary.
type PrimaryUnderTest struct {
	Primary PrimaryStore
	Other   PrimaryStore // the same primary as another node reaches it; may be the same value
	// Revoke commits one row and answers its number. Safe for concurrent use.
	Revoke func(r member.Revocation) (int64, error)
	// Advance moves the clock by which nodes are silent.
	Advance func(d time.Duration)
}

// Primary runs the conformance suite of session.Log, session.Registry and
// session.Finisher. open answers an empty primary; it is called once per case.
func Primary(t *testing.T, open func(t *testing.T) PrimaryUnderTest) {
	t.Helper()
	cases := []struct {
		name string
		why  string // printed when the case fails
		run  func(*primaryEnv)
	}{
		{"JoinThenLease/C8", "a node that has joined is listed and leases", joinThenLease},
		{"LeaseOfUnknown/C8", "an unknown node gets ErrNotRegistered, and nothing is noted of it", leaseOfUnknown},
		{"RowsInOrder/C1", "rows come whole, in order and after the position", rowsInOrder},
		{"LastIsTheEnd/C5", "Last is the end of the log also when the batch is limited: what is missing must show", lastIsTheEnd},
		{"AppliedNeverGoesBack/C8", "an acknowledgement that arrives late takes nothing back", appliedNeverGoesBack},
		{"AheadOfTheLog/C8", "after a restore the number a node had reached acknowledges none of the rows to come", aheadOfTheLog},
		{"NodesShowsAcknowledged/C8", "what a lease has acknowledged, the next reading shows, on every node", nodesShowsAcknowledged},
		{"ReadsAreFresh/C3", "a row committed before a call began is in its answer, also on another node", readsAreFresh},
		{"Leave/C8", "a node that left is gone and told so; leaving twice is no error", leave},
		{"Expel/C8", "only the silent ones are removed", expel},
		{"ExpelRace/C8", "a node that calls while it is expelled stays or is told: never neither", expelRace},
		{"Unfinished/C2", "rows with tidying to do are listed until finished, oldest first", unfinished},
		{"FinishRace/C2", "several nodes finish the same rows at once", finishRace},
		{"DenseUnderConcurrency/C1", "every node gets every row once, in order and without gaps, while many write", denseUnderConcurrency},
		{"Cancelled", "a call that is given up is an error, never an empty answer", primaryCancelled},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			e := &primaryEnv{T: t, ctx: ctx, PrimaryUnderTest: open(t)}
			c.run(e)
			if t.Failed() {
				t.Log("why this matters: " + c.why)
			}
		})
	}
}

type primaryEnv struct {
	*testing.T
	PrimaryUnderTest
	ctx context.Context
}

func (e *primaryEnv) join(id string, applied int64) {
	e.Helper()
	if err := e.Primary.Join(e.ctx, session.Node{ID: id, Name: "name of " + id, Applied: applied}); err != nil {
		e.Fatal(err)
	}
}

// revoke commits n rows that end sessions.
func (e *primaryEnv) revoke(n int) (last int64) {
	e.Helper()
	for i := range n {
		var err error
		if last, err = e.Revoke(member.Revocation{Kind: member.End, Scope: member.ScopeMember, Target: fmt.Sprint("m", i), Epoch: int64(i)}); err != nil {
			e.Fatal(err)
		}
	}
	return last
}

func (e *primaryEnv) lease(p session.Log, id string, applied int64, limit int) session.Batch {
	e.Helper()
	b, err := p.Lease(e.ctx, id, applied, limit)
	if err != nil {
		e.Fatal(err)
	}
	return b
}

func (e *primaryEnv) nodes(p session.Registry) map[string]session.Node {
	e.Helper()
	list, err := p.Nodes(e.ctx)
	if err != nil {
		e.Fatal(err)
	}
	out := map[string]session.Node{}
	for _, n := range list {
		if _, twice := out[n.ID]; twice {
			e.Errorf("%s is listed twice", n.ID)
		}
		out[n.ID] = n
	}
	return out
}

func (e *primaryEnv) expel(silent time.Duration, want int) {
	e.Helper()
	if n, err := e.Primary.Expel(e.ctx, silent); err != nil || n != want {
		e.Errorf("expelled %d, %v; want %d", n, err, want)
	}
}

func (e *primaryEnv) wantSeqs(what string, rows []member.Revocation, want ...int64) {
	e.Helper()
	if got := seqs(rows); !slices.Equal(got, want) {
		e.Errorf("%s: got rows %v, want %v", what, got, want)
	}
}

func seqs(rows []member.Revocation) (out []int64) {
	for _, r := range rows {
		out = append(out, r.Seq)
	}
	return out
}

func joinThenLease(e *primaryEnv) {
	e.join("a", 0)
	n, ok := e.nodes(e.Other)["a"]
	if !ok || n.Name != "name of a" || n.Applied != 0 || n.Seen.IsZero() {
		e.Errorf("listed as %+v, %v", n, ok)
	}
	if b := e.lease(e.Primary, "a", 0, 10); len(b.Rows) != 0 || b.Last != 0 {
		e.Errorf("lease of an empty log: %+v", b)
	}
	if last, err := e.Primary.LastRevocation(e.ctx); err != nil || last != 0 {
		e.Errorf("last revocation: %d, %v", last, err)
	}
}

func leaseOfUnknown(e *primaryEnv) {
	e.join("known", 0)
	e.revoke(3)
	for range 2 {
		b, err := e.Primary.Lease(e.ctx, "unknown", 3, 10)
		if !errors.Is(err, session.ErrNotRegistered) || len(b.Rows) != 0 || b.Last != 0 {
			e.Errorf("got %+v, %v; want ErrNotRegistered", b, err)
		}
	}
	all := e.nodes(e.Primary)
	if len(all) != 1 || all["known"].Applied != 0 {
		e.Errorf("noted all the same: %+v", all)
	}
}

func rowsInOrder(e *primaryEnv) {
	e.join("a", 0)
	made := time.UnixMilli(1234567890123).UTC()
	whole := member.Revocation{Kind: member.End, Scope: member.ScopeMember, Target: "m1", Epoch: 7, Reason: "deactivated", At: made}
	for _, r := range []member.Revocation{
		whole,
		{Kind: member.Recheck, Scope: member.ScopeMembers, Target: "m1 m2", At: made},
		{Kind: member.Reload, Scope: member.ScopeAll, Target: member.ReloadKeys, At: made},
		{Kind: member.End, Scope: member.ScopeAll, At: made},
	} {
		if _, err := e.Revoke(r); err != nil {
			e.Fatal(err)
		}
	}
	b := e.lease(e.Primary, "a", 0, 10)
	e.wantSeqs("all", b.Rows, 1, 2, 3, 4)
	if whole.Seq = 1; len(b.Rows) > 0 && b.Rows[0] != whole {
		e.Errorf("got %+v, want %+v", b.Rows[0], whole)
	}
	e.wantSeqs("after 2", e.lease(e.Other, "a", 2, 10).Rows, 3, 4)
	e.wantSeqs("after 4", e.lease(e.Other, "a", 4, 10).Rows)
	e.wantSeqs("after what is not there yet", e.lease(e.Other, "a", 9, 10).Rows)
}

func lastIsTheEnd(e *primaryEnv) {
	e.join("a", 0)
	e.revoke(7)
	for _, c := range []struct {
		after int64
		limit int
		rows  []int64
	}{
		{0, 3, []int64{1, 2, 3}},
		{3, 3, []int64{4, 5, 6}},
		{6, 3, []int64{7}},
		{7, 3, nil},
		{99, 3, nil}, // the log went back: the node must see it
	} {
		b := e.lease(e.Primary, "a", c.after, c.limit)
		e.wantSeqs(fmt.Sprint("after ", c.after), b.Rows, c.rows...)
		if b.Last != 7 {
			e.Errorf("after %d: last is %d, want 7", c.after, b.Last)
		}
	}
	if last, err := e.Other.LastRevocation(e.ctx); err != nil || last != 7 {
		e.Errorf("last revocation: %d, %v", last, err)
	}
}

func appliedNeverGoesBack(e *primaryEnv) {
	e.revoke(5)
	e.join("a", 2)
	for _, c := range []struct{ ack, want int64 }{{0, 2}, {4, 4}, {3, 4}, {5, 5}, {0, 5}} {
		e.lease(e.Primary, "a", c.ack, 10)
		if n := e.nodes(e.Other)["a"]; n.Applied != c.want {
			e.Errorf("after acknowledging %d it is %d, want %d", c.ack, n.Applied, c.want)
		}
	}
}

func aheadOfTheLog(e *primaryEnv) {
	e.revoke(3)
	e.join("a", 90)
	e.join("b", 0)
	if b := e.lease(e.Primary, "b", 90, 10); len(b.Rows) != 0 || b.Last != 3 {
		e.Errorf("lease: %+v", b)
	}
	for id, n := range e.nodes(e.Other) {
		if n.Applied != 3 {
			e.Errorf("%s has acknowledged %d rows of 3", id, n.Applied)
		}
	}
	e.revoke(1)
	for id, n := range e.nodes(e.Other) {
		if n.Applied != 3 {
			e.Errorf("%s has acknowledged a row that it has not seen: %d", id, n.Applied)
		}
	}
}

func nodesShowsAcknowledged(e *primaryEnv) {
	e.join("a", 0)
	e.join("b", 0)
	for i := range int64(20) {
		e.revoke(1)
		e.lease(e.Primary, "a", i+1, 10)
		all := e.nodes(e.Other)
		if all["a"].Applied != i+1 || all["b"].Applied != 0 {
			e.Fatalf("round %d: %+v", i, all)
		}
	}
}

func readsAreFresh(e *primaryEnv) {
	e.join("a", 0)
	for i := range int64(20) {
		seq := e.revoke(1)
		e.wantSeqs("the row just committed", e.lease(e.Other, "a", i, 10).Rows, seq)
		id := fmt.Sprint("n", i)
		e.join(id, seq)
		if _, ok := e.nodes(e.Other)[id]; !ok {
			e.Fatalf("%s joined before the reading began and is not in it", id)
		}
	}
}

func denseUnderConcurrency(e *primaryEnv) {
	const writers, each, readers = 6, 15, 3
	for i := range readers {
		e.join(fmt.Sprint("n", i), 0)
	}
	var wg sync.WaitGroup
	var committed atomic.Int64
	for range writers {
		wg.Go(func() {
			for range each {
				seq, err := e.Revoke(member.Revocation{Kind: member.Recheck, Scope: member.ScopeAll})
				if err != nil {
					e.Errorf("revoke: %v", err)
					committed.Store(writers * each) // or the readers would wait in vain
					return
				}
				for at := committed.Load(); seq > at && !committed.CompareAndSwap(at, seq); at = committed.Load() {
				}
			}
		})
	}
	for i := range readers {
		wg.Go(func() {
			p, id := e.Primary, fmt.Sprint("n", i)
			if i%2 == 1 {
				p = e.Other
			}
			for applied := int64(0); applied < writers*each && !e.Failed(); {
				before := committed.Load()
				b, err := p.Lease(e.ctx, id, applied, 4)
				if err != nil {
					e.Errorf("%s: %v", id, err)
					return
				}
				if b.Last < before {
					e.Errorf("%s: last is %d, and %d was committed before the call", id, b.Last, before)
				}
				for _, r := range b.Rows {
					if r.Seq != applied+1 {
						e.Errorf("%s: row %d follows %d", id, r.Seq, applied)
					}
					applied = r.Seq
				}
				if len(b.Rows) < 4 && applied != b.Last {
					e.Errorf("%s: the batch ends at %d and the log at %d", id, applied, b.Last)
				}
			}
		})
	}
	wg.Wait()
}

func primaryCancelled(e *primaryEnv) {
	e.join("a", 0)
	e.revoke(1)
	ctx, cancel := context.WithCancel(e.ctx)
	cancel()
	if b, err := e.Primary.Lease(ctx, "a", 1, 10); err == nil || errors.Is(err, session.ErrNotRegistered) {
		e.Errorf("lease: %+v, %v", b, err)
	}
	if _, err := e.Primary.LastRevocation(ctx); err == nil {
		e.Error("last revocation: no error")
	}
	if n := e.nodes(e.Primary)["a"]; n.Applied != 0 {
		e.Errorf("a call that never went out was noted: %+v", n)
	}
}
