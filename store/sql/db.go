package sql

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
)

const (
	// callTimeout bounds one view or update whatever the caller's context says:
	// a store that hangs must become a 503, not a pile of goroutines.
	callTimeout = 10 * time.Second
	// retryBudget is how long a transaction that lost a race, or met a server
	// that is just restarting, is tried again (faults, row 6).
	retryBudget = 2 * time.Second
)

// Errors of this package that a caller branches on.
var (
	// ErrLocked means another process uses this SQLite file. The registry of
	// nodes is in memory there, so a second node would not be waited for, and a
	// cut-off would be untrue. PostgreSQL is for several nodes.
	ErrLocked = errors.New("sql: another ssogate process uses this database")
	// ErrUnfit means the server cannot keep the promises made with it: it is in
	// recovery, or commits without waiting for the disk (C12).
	ErrUnfit = errors.New("sql: database server is not fit for use")
	// ErrUnknownOutcome means a COMMIT was sent and its answer never came: the
	// change may or may not be there. Never retried here; the caller answers 503
	// and the client's own retry is idempotent (C12).
	ErrUnknownOutcome = errors.New("sql: commit outcome unknown")
)

type engine string

const (
	engineSQLite   engine = "sqlite"
	enginePostgres engine = "postgres"
)

// DB is an open database. Safe for concurrent use. See [Open].
type DB struct {
	engine engine
	reads  *sql.DB
	writes *sql.DB // the same pool as reads on PostgreSQL
	// leases serves the lease loop, the registry and nothing else: a lease is
	// lost in 750 ms, and must not wait for a connection behind slow pages.
	leases   *sql.DB
	guard    guard
	now      func() time.Time
	path     string // SQLite file, or ""
	nodes    memoryNodes
	anchors  anchors
	lookMost int      // see the constant
	combine  combiner // SQLite: changes that share a commit
	watching watched  // PostgreSQL: what Expel has seen of the other nodes
}

// guard says why the database may not be used at this moment, if there is a reason.
type guard interface {
	check() error
	Close() error
}

// view runs fn in a read-only transaction that sees one snapshot (C11). It is
// tried again while the engine reports a passing fault, so fn must have no
// effect outside itself.
func (d *DB) view(ctx context.Context, fn func(*sql.Tx) error) error {
	opts := &sql.TxOptions{ReadOnly: true}
	if d.engine == enginePostgres {
		// READ COMMITTED would give each statement a snapshot of its own.
		opts.Isolation = sql.LevelRepeatableRead
	}
	return d.retry(ctx, func(ctx context.Context) error {
		tx, err := d.begin(ctx, d.reads, opts)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // nothing to keep, and harmless when already ended
		return fn(tx)
	})
}

// update runs fn in a writing transaction and commits when it returns nil.
// A lost race or a busy engine is retried for at most two seconds, as long as
// COMMIT has not been sent; fn must have no effect outside its transaction.
func (d *DB) update(ctx context.Context, fn func(*sql.Tx) error) error {
	opts := &sql.TxOptions{}
	if d.engine == enginePostgres {
		opts.Isolation = sql.LevelReadCommitted
	}
	return d.retry(ctx, func(ctx context.Context) error {
		tx, err := d.begin(ctx, d.writes, opts)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // harmless after Commit; also on a panic of fn
		if err := fn(tx); err != nil {
			return err
		}
		if err := tx.Commit(); err != nil {
			return commitError(err)
		}
		return nil
	})
}

func (d *DB) begin(ctx context.Context, pool *sql.DB, opts *sql.TxOptions) (*sql.Tx, error) {
	if err := d.guard.check(); err != nil {
		return nil, err
	}
	tx, err := pool.BeginTx(ctx, opts)
	if err != nil {
		return nil, fmt.Errorf("sql: begin: %w", err)
	}
	return tx, nil
}

// commitError tells a definite rollback from an unknown outcome.
func commitError(err error) error {
	var pg *pgconn.PgError
	var lite *sqlite.Error
	switch {
	case errors.As(err, &pg) && len(pg.Code) == 5 && pg.Code[:2] == "40":
		return fmt.Errorf("sql: commit: %w", err) // class 40 is "transaction rollback"
	case errors.As(err, &lite), errors.Is(err, sql.ErrTxDone):
		return fmt.Errorf("sql: commit: %w", err) // in process: the driver rolled back
	default:
		return fmt.Errorf("%w: %w", ErrUnknownOutcome, err)
	}
}

// retry calls once until it succeeds, fails for good, or the budget is spent.
func (d *DB) retry(ctx context.Context, once func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	end := time.Now().Add(retryBudget)
	for wait := 2 * time.Millisecond; ; wait = min(2*wait, 100*time.Millisecond) {
		err := once(ctx)
		if err == nil || !passing(err) || time.Now().Add(wait).After(end) {
			return err
		}
		// Jitter keeps two losers of one race from meeting again.
		t := time.NewTimer(wait/2 + rand.N(wait)) //nolint:gosec // nothing secret depends on it
		select {
		case <-ctx.Done():
			t.Stop()
			return err
		case <-t.C:
		}
	}
}

// passing reports whether trying the whole transaction again may help and
// cannot do anything twice.
func passing(err error) bool {
	var pg *pgconn.PgError
	var lite *sqlite.Error
	var dial *pgconn.ConnectError
	var network *net.OpError
	switch {
	case errors.Is(err, ErrUnknownOutcome), errors.Is(err, ErrUnfit):
		return false
	case errors.As(err, &pg):
		switch pg.Code {
		case "40001", "40P01", // serialization failure, deadlock
			"55P03",          // lock_timeout
			"25P03",          // this process stood still in the middle; rolled back
			"57P01", "57P03", // shutting down, starting up
			"53300": // too many connections
			return true
		}
		return pg.Code[:min(2, len(pg.Code))] == "08" // connection exception
	case errors.As(err, &lite):
		primary := lite.Code() & 0xff
		return primary == 5 || primary == 6 // SQLITE_BUSY, SQLITE_LOCKED
	case errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return false
	}
	return errors.As(err, &dial) || errors.As(err, &network) || errors.Is(err, driver.ErrBadConn) ||
		errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)
}

// taken reports a unique constraint: SQLSTATE 23505, SQLITE_CONSTRAINT_UNIQUE
// and SQLITE_CONSTRAINT_PRIMARYKEY.
func taken(err error) bool {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code == "23505"
	}
	var lite *sqlite.Error
	return errors.As(err, &lite) && (lite.Code() == 2067 || lite.Code() == 1555)
}

// ms is how times are stored; the zero time is 0.
func ms(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMilli()
}

// at reads what ms wrote.
func at(v int64) time.Time {
	if v == 0 {
		return time.Time{}
	}
	return time.UnixMilli(v).UTC()
}

// bit is how booleans are stored.
func bit(b bool) int64 {
	if b {
		return 1
	}
	return 0
}
