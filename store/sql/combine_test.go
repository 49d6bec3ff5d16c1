package sql

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/ssogate/ssogate/member"
)

var errOne = errors.New("this change only")

// held starts changes while the file is held by somebody else, so that all wait
// and are then committed together.
func held(t *testing.T, d *DB, changes ...func(member.Tx) error) []error {
	t.Helper()
	tx, err := d.writes.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	errs := make([]error, len(changes))
	var wg sync.WaitGroup
	for i, fn := range changes {
		wg.Go(func() {
			defer func() {
				if v := recover(); v != nil {
					errs[i] = fmt.Errorf("panic: %v", v)
				}
			}()
			errs[i] = d.Update(t.Context(), fn)
		})
		until(t, "the change waits", func() bool {
			d.combine.mu.Lock()
			defer d.combine.mu.Unlock()
			return len(d.combine.queue) == i+1 || len(d.combine.queue) == i && d.combine.busy
		})
	}
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	return errs
}

func insert(id string) func(member.Tx) error {
	return func(tx member.Tx) error {
		return tx.InsertMember(member.Member{ID: member.ID(id), UserName: id, Version: 1, Connection: "c"})
	}
}

func exists(t *testing.T, d *DB, id string) bool {
	t.Helper()
	err := d.View(t.Context(), func(tx member.Tx) error {
		_, err := tx.Member(member.ID(id))
		return err
	})
	if err != nil && !errors.Is(err, member.ErrNotFound) {
		t.Fatal(err)
	}
	return err == nil
}

// Changes that share a commit stay changes of their own.
func TestChangesThatShareACommitFailAlone(t *testing.T) {
	t.Parallel()
	d := open(t, engines["SQLite"](t))
	errs := held(t, d,
		insert("a"),
		func(tx member.Tx) error { return errors.Join(insert("half")(tx), errOne) },
		insert("b"),
		// Fault 25: the commit is run by another change's goroutine, which must go on.
		func(tx member.Tx) error { _ = insert("lost")(tx); panic("one") },
		insert("a"), // taken, by one that is not committed yet
		insert("c"),
	)
	for i, want := range []error{nil, errOne, nil, nil, member.ErrConflict, nil} {
		switch {
		case i == 3:
			if errs[i] == nil || errs[i].Error() != "panic: one" {
				t.Errorf("change %d: %v; a panic belongs to its caller", i, errs[i])
			}
		case want == nil && errs[i] != nil, !errors.Is(errs[i], want):
			t.Errorf("change %d: %v, want %v", i, errs[i], want)
		}
	}
	for id, want := range map[string]bool{"a": true, "b": true, "c": true, "half": false, "lost": false} {
		if exists(t, d, id) != want {
			t.Errorf("%s is there: %v", id, !want)
		}
	}
}

// A client that goes away while it waits changes nothing; one that goes away
// while it is worked on takes nobody with it, and is told what became of it.
func TestAChangeThatIsGivenUpTakesNobodyWithIt(t *testing.T) {
	t.Parallel()
	d := open(t, engines["SQLite"](t))
	waiting, giveUp := context.WithCancel(t.Context())
	working, hangUp := context.WithCancel(t.Context())
	tx, err := d.writes.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	var first, gone, last error
	var wg sync.WaitGroup
	queued := func(n int) {
		until(t, "the changes wait", func() bool {
			d.combine.mu.Lock()
			defer d.combine.mu.Unlock()
			return d.combine.busy && len(d.combine.queue) == n
		})
	}
	wg.Go(func() {
		first = d.Update(working, func(tx member.Tx) error {
			hangUp()
			return insert("worked")(tx)
		})
	})
	queued(0)
	wg.Go(func() { gone = d.Update(waiting, insert("gone")) })
	queued(1)
	wg.Go(func() { last = d.Update(t.Context(), insert("last")) })
	queued(2)
	giveUp()
	queued(1)
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if first != nil || !errors.Is(gone, context.Canceled) || last != nil {
		t.Errorf("worked on: %v; given up: %v; after it: %v", first, gone, last)
	}
	if !exists(t, d, "worked") || exists(t, d, "gone") || !exists(t, d, "last") {
		t.Errorf("worked %v, gone %v, last %v", exists(t, d, "worked"), exists(t, d, "gone"), exists(t, d, "last"))
	}
}

// When SQLite itself gives the transaction up, nobody is told that he was kept.
func TestALostSharedCommitIsEverybodysError(t *testing.T) {
	t.Parallel()
	d := open(t, engines["SQLite"](t))
	errs := held(t, d,
		insert("a"),
		giveUpAll,
		insert("b"),
	)
	if !errors.Is(errs[0], errBatch) || !errors.Is(errs[1], errBatch) {
		t.Errorf("%v", errs)
	}
	if exists(t, d, "a") {
		t.Error("a is there: its change was said to be lost")
	}
	if kept := exists(t, d, "b"); kept != (errs[2] == nil) {
		t.Errorf("b: there %v, told %v", kept, errs[2])
	}
	if err := d.Update(t.Context(), insert("after")); err != nil {
		t.Errorf("the next change: %v", err)
	}
}

// A client that hangs up while its change is worked on must not turn a lost commit
// into a success: what it is told is what is there (G7).
func TestALostSharedCommitIsNoSuccessForWhoHungUp(t *testing.T) {
	t.Parallel()
	d := open(t, engines["SQLite"](t))
	tx, err := d.writes.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	working, hangUp := context.WithCancel(t.Context())
	var first, second error
	var wg sync.WaitGroup
	wg.Go(func() {
		first = d.Update(working, func(tx member.Tx) error {
			hangUp()
			return insert("worked")(tx)
		})
	})
	until(t, "the first leads", func() bool {
		d.combine.mu.Lock()
		defer d.combine.mu.Unlock()
		return d.combine.busy && len(d.combine.queue) == 0
	})
	wg.Go(func() { second = d.Update(t.Context(), giveUpAll) })
	until(t, "the second waits", func() bool {
		d.combine.mu.Lock()
		defer d.combine.mu.Unlock()
		return len(d.combine.queue) == 1
	})
	busy := time.Now()
	until(t, "the file was busy for longer than changes join", func() bool { return time.Since(busy) > 2*combineTime })
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	wg.Wait()
	if exists(t, d, "worked") {
		t.Fatal("the commit was not lost: this shows nothing")
	}
	if first == nil || second == nil {
		t.Errorf("told %v and %v of a commit that was lost", first, second)
	}
}

// giveUpAll makes SQLite give the whole transaction up, as a full disk does.
func giveUpAll(mt member.Tx) error {
	x := mt.(*tx) //nolint:forcetypeassert // of this package
	_, err := x.sql.ExecContext(x.ctx, "ROLLBACK")
	return errors.Join(err, errOne)
}
