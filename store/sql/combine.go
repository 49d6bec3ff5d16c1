package sql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"
)

// Bounds of one commit that several changes share.
const (
	combineMost = 128
	combineTime = 50 * time.Millisecond // after the first change, until when others join
)

// combiner lets changes of a SQLite file that wait at the same time share one
// durable commit: the write to the disk costs more than the change. Each has a
// savepoint of its own, so that one that fails takes nothing of the others with
// it, and each is answered only after the commit. The first that waits does the
// work for all; there is no goroutine to start or stop.
type combiner struct {
	mu    sync.Mutex
	queue []*change
	busy  bool // somebody leads
}

// change is one call of [DB.Update].
type change struct {
	ctx  context.Context //nolint:containedctx // of the one call this is
	fn   func(context.Context, *sql.Tx) error
	done chan struct{} // closed when err or panicked is set
	lead chan struct{} // it is this one's turn to work
	err  error
	ran  bool // fn was called: what became of it is what became of the commit
	// panicked is what fn panicked with, for its own goroutine to go on with.
	panicked any
}

// combined runs fn in a transaction that others may share, and returns after its
// commit. fn is not run when ctx ended before its turn; once begun it is not
// interrupted by ctx: SQLite would roll back everybody's changes.
func (d *DB) combined(ctx context.Context, fn func(context.Context, *sql.Tx) error) error {
	c := &d.combine
	j := &change{ctx: ctx, fn: fn, done: make(chan struct{}), lead: make(chan struct{}, 1)}
	c.mu.Lock()
	c.queue = append(c.queue, j)
	leader := !c.busy
	c.busy = true
	c.mu.Unlock()
	if leader {
		d.leadCommit()
	}
	for {
		select {
		case <-j.done:
			if j.panicked != nil {
				panic(j.panicked)
			}
			return j.err
		case <-j.lead:
			d.leadCommit()
		case <-ctx.Done():
			if c.leave(j) {
				return ctx.Err()
			}
			<-j.done // it is being worked on: only the commit says what became of it
		}
	}
}

// leave takes a change out that nobody has begun, and hands on the lead if it
// had just been given it.
func (c *combiner) leave(j *change) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, q := range c.queue {
		if q != j {
			continue
		}
		c.queue = append(c.queue[:i:i], c.queue[i+1:]...)
		select {
		case <-j.lead:
			c.handOn()
		default:
		}
		return true
	}
	return false
}

// handOn makes the first that waits lead. c.mu is held.
func (c *combiner) handOn() {
	if c.busy = len(c.queue) > 0; c.busy {
		c.queue[0].lead <- struct{}{} // it has room for one, and a change leads once
	}
}

// leadCommit works off what waits, its own change first, in one commit.
func (d *DB) leadCommit() {
	c := &d.combine
	taken := 0
	var batch []*change
	var began time.Time
	next := func() *change {
		c.mu.Lock()
		defer c.mu.Unlock()
		if taken == 1 {
			// Not from the call: after a long wait for the file, when most wait here,
			// each would get a commit of its own.
			began = time.Now()
		}
		if len(c.queue) == 0 || taken == combineMost || taken > 1 && time.Since(began) > combineTime {
			return nil
		}
		j := c.queue[0]
		c.queue = c.queue[1:]
		taken++
		batch = append(batch, j)
		return j
	}
	err := d.commitTogether(next)
	for _, j := range batch {
		// What a change answered may rest on one before it that is now gone with
		// the rest ("the name is taken"): a lost commit is everybody's answer, also
		// that of one whose client has hung up since. One that was never run keeps its own.
		if err != nil && (j.ran || j.err == nil) {
			j.err = err
		}
		close(j.done)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.handOn()
}

// errBatch means that SQLite gave up the transaction that a change shared.
var errBatch = errors.New("sql: the shared transaction was rolled back")

// commitTogether runs changes until next has no more. Its error is that of all
// changes that had none of their own.
func (d *DB) commitTogether(next func() *change) error {
	first := next()
	if first == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), callTimeout)
	defer cancel()
	tx, err := d.begin(ctx, d.writes, &sql.TxOptions{})
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // harmless after Commit
	kept := 0
	for j := first; j != nil; j = next() {
		if err := j.ctx.Err(); err != nil {
			j.err = err
			continue
		}
		j.ran = true
		ok, err := j.run(ctx, tx)
		if err != nil {
			return fmt.Errorf("%w: %w", errBatch, err)
		}
		if ok {
			kept++
		}
	}
	if kept == 0 {
		return nil
	}
	if err := tx.Commit(); err != nil {
		return commitError(err)
	}
	return nil
}

// run does one change inside a savepoint. ok is false when it failed and was
// taken back; an error means that the whole transaction is lost.
func (j *change) run(ctx context.Context, tx *sql.Tx) (ok bool, err error) {
	if _, err := tx.ExecContext(ctx, "SAVEPOINT change"); err != nil {
		return false, err
	}
	func() {
		defer func() {
			if v := recover(); v != nil {
				j.panicked = v
			}
		}()
		j.err = j.fn(borrowed{ctx, j.ctx}, tx)
	}()
	if j.err == nil && j.panicked == nil {
		_, err := tx.ExecContext(ctx, "RELEASE change")
		return true, err
	}
	// Fails when SQLite has already rolled back everything (a full disk, an
	// interrupted write): then nothing may follow in this transaction.
	if _, err := tx.ExecContext(ctx, "ROLLBACK TO change"); err != nil {
		return false, err
	}
	_, err = tx.ExecContext(ctx, "RELEASE change")
	return false, err
}

// borrowed is the context of the commit with the values of one caller.
type borrowed struct {
	context.Context //nolint:containedctx // it is one
	values          context.Context
}

// Value implements context.Context.
func (b borrowed) Value(key any) any { return b.values.Value(key) }
