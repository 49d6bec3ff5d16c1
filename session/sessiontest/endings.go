package sessiontest

import (
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/ssogate/ssogate/session"
)

// The cases of [Store] about how sessions live on and end (C6, C7, K06).

func touch(e *env) {
	r, other := e.create("a", "m1", 1), e.create("b", "m1", 1)
	r.LastSeen = r.LastSeen.Add(90 * time.Second)
	if err := e.s.Touch(e.ctx, session.Used(r.Hash, r.LastSeen)); err != nil {
		e.Fatal(err)
	}
	e.wantLive(r)
	e.wantLive(other)
}

func touchNeverBack(e *env) {
	r := e.create("a", "m1", 1)
	r.LastSeen = r.LastSeen.Add(3 * time.Minute)
	for _, late := range []time.Duration{0, -time.Millisecond, -2 * time.Minute, -1000 * time.Hour} {
		if err := e.s.Touch(e.ctx, session.Used(r.Hash, r.LastSeen.Add(late))); err != nil {
			e.Fatal(err)
		}
		e.wantLive(r)
	}
	// In one batch too, whatever the order.
	next := r.LastSeen.Add(time.Minute)
	uses := []session.Use{{Hash: r.Hash, Seen: r.LastSeen}, {Hash: r.Hash, Seen: next}, {Hash: r.Hash, Seen: r.LastSeen.Add(-time.Hour)}}
	if err := e.s.Touch(e.ctx, uses); err != nil {
		e.Fatal(err)
	}
	r.LastSeen = next
	e.wantLive(r)
}

func touchBatch(e *env) {
	if err := e.s.Touch(e.ctx, nil); err != nil {
		e.Errorf("touch of nothing: %v", err)
	}
	const n = 1100 // more than one batch of every store
	seen := e.clock.Now().Add(5 * time.Minute).UTC().Truncate(time.Millisecond)
	live := make(map[int]session.Record)
	var uses []session.Use
	for i := range n {
		r := Record(fmt.Sprint(i), "m1", e.clock.Now())
		if i%100 == 0 { // the others do not exist
			live[i] = e.create(fmt.Sprint(i), "m1", 1)
		}
		uses = append(uses, session.Use{Hash: r.Hash, Seen: seen})
	}
	other := e.create("other", "m1", 1)
	if err := e.s.Touch(e.ctx, uses); err != nil {
		e.Fatal(err)
	}
	for _, r := range live {
		r.LastSeen = seen
		e.wantLive(r)
	}
	e.wantLive(other)
	if l, err := e.s.List(e.ctx, "m1"); err != nil || len(l) != len(live)+1 {
		e.Errorf("%d sessions afterwards, %v; want %d", len(l), err, len(live)+1)
	}
}

func touchBatchRace(e *env) {
	const n = 40
	var forth, back []session.Use
	var all []session.Record
	seen := e.clock.Now().Add(time.Minute).UTC().Truncate(time.Millisecond)
	for i := range n {
		r := e.create(fmt.Sprint(i), "m1", 1)
		all = append(all, r)
		forth = append(forth, session.Use{Hash: r.Hash, Seen: seen})
		back = append([]session.Use{{Hash: r.Hash, Seen: seen.Add(-time.Second)}}, back...)
	}
	race(8, func(i int) { // as several nodes do it, in whatever order
		for range 5 {
			uses := forth
			if i%2 == 1 {
				uses = back
			}
			if err := e.s.Touch(e.ctx, uses); err != nil {
				e.Errorf("touch: %v", err)
			}
		}
	})
	for _, r := range all {
		r.LastSeen = seen
		e.wantLive(r)
	}
}

func touchNeverCreates(e *env) {
	r := e.create("a", "m1", 1)
	if err := e.s.Delete(e.ctx, r.Hash); err != nil {
		e.Fatal(err)
	}
	if err := e.s.Touch(e.ctx, session.Used(r.Hash, e.clock.Now())); err != nil {
		e.Errorf("touch of a deleted session: %v", err)
	}
	e.wantGone(r)

	cut := e.create("b", "m1", 1)
	e.wantDeleted("m1", 2, 1)
	if err := e.s.Touch(e.ctx, session.Used(cut.Hash, e.clock.Now())); err != nil {
		e.Errorf("touch of a session that was cut off: %v", err)
	}
	e.wantGone(cut)
	if l, err := e.s.List(e.ctx, "m1"); err != nil || len(l) != 0 {
		e.Errorf("list: %+v, %v", l, err)
	}
}

func touchRace(e *env) {
	for round := range 5 {
		r := e.create(fmt.Sprint("r", round), "m1", 1)
		race(16, func(i int) {
			if i == 7 {
				if err := e.s.Delete(e.ctx, r.Hash); err != nil {
					e.Errorf("delete: %v", err)
				}
				return
			}
			if err := e.s.Touch(e.ctx, session.Used(r.Hash, e.clock.Now())); err != nil {
				e.Errorf("touch: %v", err)
			}
		})
		e.wantGone(r)
	}
}

func absoluteEnd(e *env) {
	r := e.create("a", "m1", 1)
	e.clock.Advance(23 * time.Hour)
	for _, seen := range []time.Duration{0, time.Hour, 1000 * time.Hour} {
		r.LastSeen = e.clock.Now().Add(seen).UTC().Truncate(time.Millisecond)
		if err := e.s.Touch(e.ctx, session.Used(r.Hash, r.LastSeen)); err != nil {
			e.Fatal(err)
		}
		e.wantLive(r)
	}
	e.clock.Advance(time.Hour)
	e.wantGone(r)
	if l, err := e.s.List(e.ctx, "m1"); err != nil || len(l) != 0 {
		e.Errorf("an expired session is listed: %+v, %v", l, err)
	}
}

func deleteMember(e *env) {
	old1, old2 := e.create("old1", "m1", 1), e.create("old2", "m1", 2)
	now, later := e.create("now", "m1", 3), e.create("later", "m1", 4)
	other := e.create("other", "m2", 1)
	e.wantDeleted("m1", 3, 2)
	e.wantGone(old1)
	e.wantGone(old2)
	for _, r := range []session.Record{now, later, other} {
		e.wantLive(r)
	}
	e.wantDeleted("m1", 3, 0)
	e.wantDeleted("m1", math.MaxInt64, 2)
	e.wantLive(other)
}

func deleteMemberLate(e *env) {
	e.create("before", "m1", 1)
	e.wantDeleted("m1", 2, 1)
	after := e.create("after", "m1", 3)
	e.wantDeleted("m1", 2, 0)
	e.wantLive(after)
}

func deleteMemberStale(e *env) {
	ended, live := e.create("ended", "m1", 1), e.create("live", "m1", 1)
	short := Record("short", "m1", e.clock.Now())
	short.Expires = short.Issued.Add(time.Minute)
	if err := e.s.Create(e.ctx, short); err != nil {
		e.Fatal(err)
	}
	if err := e.s.Delete(e.ctx, ended.Hash); err != nil {
		e.Fatal(err)
	}
	e.clock.Advance(2 * time.Minute)
	n, err := e.s.DeleteMember(e.ctx, "m1", 2)
	if err != nil || n < 1 || n > 2 { // an expired record not yet swept may count
		e.Errorf("got %d, %v; want the live session, and at most the expired one", n, err)
	}
	e.wantGone(live)
	e.wantDeleted("m1", 2, 0)
}

func deleteMemberRace(e *env) {
	const n = 12
	fresh := make([]session.Record, n)
	for i := range n {
		e.create(fmt.Sprint("old", i), "m1", 1)
		fresh[i] = Record(fmt.Sprint("new", i), "m1", e.clock.Now())
		fresh[i].Epoch = 2
	}
	var deleted atomic.Int32
	race(2*n, func(i int) {
		if i < n {
			if err := e.s.Create(e.ctx, fresh[i]); err != nil {
				e.Errorf("create: %v", err)
			}
			return
		}
		d, err := e.s.DeleteMember(e.ctx, "m1", 2)
		if err != nil {
			e.Errorf("delete: %v", err)
		}
		deleted.Add(int32(d)) //nolint:gosec // at most n
	})
	if deleted.Load() != n {
		e.Errorf("%d sessions were reported ended, want each of %d exactly once", deleted.Load(), n)
	}
	for _, r := range fresh {
		e.wantLive(r)
	}
	e.wantDeleted("m1", 3, n) // and all of them can still be found by their member
}

func deleteMemberMany(e *env) {
	const n = 700 // more than one batch of every store
	now := e.clock.Now()
	race(10, func(w int) {
		for i := w; i < n; i += 10 {
			if err := e.s.Create(e.ctx, Record(fmt.Sprint(i), "m1", now)); err != nil {
				e.Errorf("create: %v", err)
				return
			}
		}
	})
	e.wantDeleted("m1", 2, n)
	if l, err := e.s.List(e.ctx, "m1"); err != nil || len(l) != 0 {
		e.Errorf("%d sessions left, %v", len(l), err)
	}
}
