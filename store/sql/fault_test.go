package sql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"

	"github.com/ssogate/ssogate/member"
)

// Fault 6: somebody else holds the database. A write waits and is tried again for
// a short while; it then succeeds once, or fails without having changed anything.
func TestWriteWaitsForALockedDatabaseAndThenGivesUp(t *testing.T) {
	t.Parallel()
	url := engines["SQLite"](t)
	d := open(t, url)
	foreign, err := sql.Open("sqlite", "file:"+d.path+"?_txlock=immediate")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = foreign.Close() }()
	hold := func() *sql.Tx {
		t.Helper()
		tx, err := foreign.BeginTx(context.Background(), nil)
		if err != nil {
			t.Fatal(err)
		}
		return tx
	}
	write := func() error {
		return d.Update(t.Context(), func(tx member.Tx) error {
			_, err := tx.Revoke(member.Revocation{Kind: member.Recheck, Scope: member.ScopeAll})
			return err
		})
	}
	last := func(want int64) {
		t.Helper()
		if n, err := d.LastRevocation(t.Context()); n != want || err != nil {
			t.Errorf("the log ends at %d, %v; want %d", n, err, want)
		}
	}
	if err := write(); err != nil {
		t.Fatal(err)
	}
	last(1)

	// Held for longer than any patience.
	tx := hold()
	var lite *sqlite.Error
	if err := write(); !errors.As(err, &lite) {
		t.Errorf("got %v, want the engine's own error: the caller answers 503", err)
	}
	last(1)

	// Let go while the write waits.
	done := make(chan error, 1)
	go func() { done <- write() }()
	until(t, "the write has begun", func() bool { return d.writes.Stats().InUse == 1 })
	if err := tx.Rollback(); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Errorf("after the lock was released: %v", err)
	}
	last(2)
}

// What passes by itself is tried again, as a whole; what does not is answered at
// once; and what may have happened already is never repeated (faults 6 and 17).
func TestOnlyPassingFaultsAreTriedAgain(t *testing.T) {
	t.Parallel()
	d := open(t, engines["SQLite"](t))
	for _, c := range []struct {
		err   error
		again bool
	}{
		{&pgconn.PgError{Code: "40001"}, true},
		{&pgconn.PgError{Code: "40P01"}, true},
		{&pgconn.PgError{Code: "55P03"}, true},
		{&pgconn.PgError{Code: "57P01"}, true},
		{&pgconn.PgError{Code: "08006"}, true},
		{io.ErrUnexpectedEOF, true},
		{driver.ErrBadConn, true},
		{&pgconn.PgError{Code: "23505"}, false},
		{&pgconn.PgError{Code: "57014"}, false},
		{&pgconn.PgError{}, false},
		{errForgets, false},
		{context.DeadlineExceeded, false},
		{member.ErrConflict, false},
		{commitError(io.ErrUnexpectedEOF), false},
		{commitError(&pgconn.PgError{Code: "57P01"}), false},
		{commitError(&pgconn.PgError{Code: "40001"}), true},
	} {
		tries := 0
		err := d.Update(t.Context(), func(tx member.Tx) error {
			if tries++; tries == 1 {
				return fmt.Errorf("wrapped: %w", c.err)
			}
			return nil
		})
		if c.again != (tries == 2 && err == nil) || !c.again && (tries != 1 || !errors.Is(err, c.err)) {
			t.Errorf("%v: %d tries, %v; tried again wanted: %v", c.err, tries, err, c.again)
		}
	}
}
