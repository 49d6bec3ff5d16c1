package sql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

const (
	// poolSize connections serve requests; leaseSize more serve the lease loop,
	// one reading of the registry for all who wait, and one change of it.
	poolSize  = 16
	leaseSize = 3
	// migrationWait is how long a node waits at start for another to migrate.
	migrationWait = time.Minute
	// migrationLock is the key of the advisory lock under which nodes migrate:
	// "ssogate" as a number. Such locks are per database, so two organisations
	// may share a server.
	migrationLock = 0x73736f67617465
)

func isPostgres(url string) bool {
	return strings.HasPrefix(url, "postgres://") || strings.HasPrefix(url, "postgresql://")
}

// openPostgres opens the pools and migrates. Several nodes may do so at once.
func (d *DB) openPostgres(ctx context.Context, url string) error {
	conf, err := postgresConfig(url)
	if err != nil {
		return err
	}
	d.connect(conf, poolSize, leaseSize)
	return alone(ctx, conf, func() error { return d.migrate(ctx) })
}

// connect makes the pools. Every connection of theirs is checked before use.
func (d *DB) connect(conf *pgx.ConnConfig, size, leases int) {
	pool := func(size int) *sql.DB {
		p := stdlib.OpenDB(*conf)
		p.SetMaxOpenConns(size)
		p.SetMaxIdleConns((size + 1) / 2)
		p.SetConnMaxIdleTime(5 * time.Minute)
		return p
	}
	d.engine, d.guard = enginePostgres, &fitness{}
	d.reads, d.leases = pool(size), pool(leases)
	d.writes = d.reads
}

// alone runs fn while no other node is in an alone of the same database. It
// waits for one that is for at most a minute.
func alone(ctx context.Context, conf *pgx.ConnConfig, fn func() error) error {
	conf = conf.Copy()
	// The lock's own connection: the time limits of the pools are shorter than
	// a migration of another node may take.
	conf.RuntimeParams["lock_timeout"] = strconv.FormatInt(migrationWait.Milliseconds(), 10)
	conf.RuntimeParams["statement_timeout"] = "0"
	cctx, cancel := context.WithTimeout(ctx, migrationWait+callTimeout)
	defer cancel()
	conn, err := pgx.ConnectConfig(cctx, conf)
	if err != nil {
		return fmt.Errorf("sql: postgres: connect: %w", err)
	}
	// The server frees the lock with the connection, however this process ends.
	defer func() {
		cctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		_ = conn.Close(cctx)
	}()
	if _, err := conn.Exec(cctx, "SELECT pg_advisory_lock($1)", int64(migrationLock)); err != nil {
		return fmt.Errorf("sql: postgres: wait for another node to migrate: %w", err)
	}
	return fn()
}

// fitness remembers what the lease loop saw last: synchronous_commit can be
// switched off on open connections too, after fit has checked them.
type fitness struct{ forgets atomic.Bool }

func (f *fitness) check() error {
	if f.forgets.Load() {
		return errForgets
	}
	return nil
}

func (f *fitness) Close() error { return nil }

var errForgets = fmt.Errorf("%w: synchronous_commit is off; set it to on for this role or database", ErrUnfit)

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
	// Every statement here touches few rows. On tables without statistics the
	// planner believes otherwise and spends 150 ms compiling what then runs in 0.1.
	set("jit", "off")
	// The server ends what the client no longer waits for. A transaction left
	// open by a paused process would hold the revocation counter.
	set("statement_timeout", "10000")
	set("lock_timeout", "2000")
	// Shorter than lock_timeout: a node that was frozen in the middle of a
	// transaction must not make the cut-offs of the others fail.
	set("idle_in_transaction_session_timeout", "1500")
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
		return errForgets
	}
	return nil
}
