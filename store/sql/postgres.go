package sql

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// openPostgres opens a pool whose every connection is checked before use.
func (d *DB) openPostgres(ctx context.Context, url string) error {
	d.engine = enginePostgres
	conf, err := postgresConfig(url)
	if err != nil {
		return err
	}
	g := &advisoryGuard{conf: conf.Copy(), stop: make(chan struct{}), done: make(chan struct{})}
	conn, err := g.first(ctx)
	if err != nil {
		return err
	}
	g.ours.Store(true)
	go g.keep(conn) //nolint:gosec // lives until Close, not until this call ends
	d.guard = g

	pool := stdlib.OpenDB(*conf)
	pool.SetMaxOpenConns(16)
	pool.SetMaxIdleConns(8)
	pool.SetConnMaxIdleTime(5 * time.Minute)
	d.reads, d.writes = pool, pool
	return nil
}

// postgresConfig is how every connection of ours is made.
func postgresConfig(url string) (*pgx.ConnConfig, error) {
	conf, err := pgx.ParseConfig(url)
	if err != nil {
		// pgx blanks the password in its own message, but only the one it
		// recognised; an unparsable URL may still carry it.
		return nil, errors.New("sql: postgres: the url cannot be parsed (check escaping of the password)")
	}
	if conf.ConnectTimeout == 0 || conf.ConnectTimeout > 5*time.Second {
		conf.ConnectTimeout = 5 * time.Second
	}
	conf.ValidateConnect = fit
	set := func(key, value string) {
		if _, ok := conf.RuntimeParams[key]; !ok {
			conf.RuntimeParams[key] = value
		}
	}
	set("application_name", "ssogate")
	// The server ends what the client no longer waits for. A transaction left
	// open by a paused process would hold the revocation counter.
	set("statement_timeout", "10000")
	set("lock_timeout", "2000")
	set("idle_in_transaction_session_timeout", "10000")
	return conf, nil
}

// fit refuses a server that cannot keep a promise (C12): a standby answers from
// the past, and without synchronous_commit a 2xx may be forgotten by a crash.
// It runs for every new connection, so also after a failover.
func fit(ctx context.Context, c *pgconn.PgConn) error {
	r := c.ExecParams(ctx, "SELECT pg_is_in_recovery()::text, current_setting('synchronous_commit')", nil, nil, nil, nil).Read()
	if r.Err != nil {
		return fmt.Errorf("sql: postgres: check: %w", r.Err)
	}
	if len(r.Rows) != 1 || len(r.Rows[0]) != 2 {
		return fmt.Errorf("%w: it did not answer the check", ErrUnfit)
	}
	if string(r.Rows[0][0]) != "false" {
		return fmt.Errorf("%w: it is in recovery (a standby); connect to the primary", ErrUnfit)
	}
	if string(r.Rows[0][1]) == "off" {
		return fmt.Errorf("%w: synchronous_commit is off; set it to on for this role or database", ErrUnfit)
	}
	return nil
}

// nodeLock is the advisory lock's key: "ssogate" as a number. Advisory locks
// are per database, so two organisations may share a server.
const nodeLock = 0x73736f67617465

// advisoryGuard holds a session-level advisory lock on a connection of its own.
// It listens on that connection, so that a break is noticed at once; from then
// on the database is neither read nor written until the lock is ours again.
type advisoryGuard struct {
	conf *pgx.ConnConfig
	ours atomic.Bool
	once sync.Once
	stop chan struct{}
	done chan struct{}
}

func (g *advisoryGuard) held() bool { return g.ours.Load() }

// acquire connects and takes the lock, or answers ErrLocked.
func (g *advisoryGuard) acquire(ctx context.Context) (*pgx.Conn, error) {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(ctx, g.conf)
	if err != nil {
		return nil, fmt.Errorf("sql: postgres: connect: %w", err)
	}
	var ok bool
	if err := conn.QueryRow(ctx, "SELECT pg_try_advisory_lock($1)", int64(nodeLock)).Scan(&ok); err != nil {
		_ = conn.Close(ctx)
		return nil, fmt.Errorf("sql: postgres: lock: %w", err)
	}
	if !ok {
		_ = conn.Close(ctx)
		return nil, fmt.Errorf("%w: its advisory lock is held; one node at a time in this version", ErrLocked)
	}
	return conn, nil
}

// first is acquire for a process that may be the successor of one that was just
// killed: the server needs a moment to notice, and a restart must not fail by it.
func (g *advisoryGuard) first(ctx context.Context) (*pgx.Conn, error) {
	for end := time.Now().Add(time.Second); ; {
		conn, err := g.acquire(ctx)
		if !errors.Is(err, ErrLocked) || time.Now().After(end) {
			return conn, err
		}
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// keep watches the connection and takes the lock again when it broke.
func (g *advisoryGuard) keep(conn *pgx.Conn) {
	defer close(g.done)
	for {
		if conn != nil {
			g.watch(conn)
			g.ours.Store(false)
			ctx, cancel := context.WithTimeout(context.Background(), time.Second)
			// Explicitly, because the server frees the lock of a closed
			// connection some time after Close has returned here. On a
			// connection that broke this fails, and there is nothing to free.
			_, _ = conn.Exec(ctx, "SELECT pg_advisory_unlock_all()")
			_ = conn.Close(ctx)
			cancel()
			conn = nil
		}
		select {
		case <-g.stop:
			return
		case <-time.After(100 * time.Millisecond):
		}
		ctx, cancel := g.context(callTimeout)
		next, err := g.acquire(ctx)
		cancel()
		if err == nil {
			conn = next
			g.ours.Store(true)
		}
	}
}

// watch returns when the connection is gone or Close was called.
func (g *advisoryGuard) watch(conn *pgx.Conn) {
	for {
		// Nothing is ever notified; the wait returns at once when the server
		// closes the connection. The ping finds a peer that vanished silently.
		ctx, cancel := g.context(time.Second)
		_, err := conn.WaitForNotification(ctx)
		cancel()
		if conn.IsClosed() || g.stopped() {
			return
		}
		if err != nil && !pgconn.Timeout(err) {
			return
		}
		ctx, cancel = g.context(2 * time.Second)
		err = conn.Ping(ctx)
		cancel()
		if err != nil {
			return
		}
	}
}

// context ends after d or when the guard is closed.
func (g *advisoryGuard) context(d time.Duration) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithTimeout(context.Background(), d)
	go func() {
		select {
		case <-g.stop:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

func (g *advisoryGuard) stopped() bool {
	select {
	case <-g.stop:
		return true
	default:
		return false
	}
}

// Close releases the lock by closing its connection.
func (g *advisoryGuard) Close() error {
	g.once.Do(func() { close(g.stop) })
	<-g.done
	return nil
}
