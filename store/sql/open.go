package sql

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"time"

	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Open opens "sqlite:PATH" or a "postgres://" (or "postgresql://") URL and brings
// the schema up to date. A SQLite file is locked for this process; PostgreSQL
// may be opened by several nodes. The caller closes it.
//
// Errors: [ErrLocked] when another process has the file, [ErrUnfit] when a PostgreSQL
// server is in recovery or does not wait for the disk, and errors that never
// contain the URL (it may carry a password).
func Open(ctx context.Context, url string) (*DB, error) {
	d := &DB{now: time.Now, lookMost: lookMost}
	var err error
	switch {
	case strings.HasPrefix(url, "sqlite:"):
		if err = d.openSQLite(ctx, strings.TrimPrefix(url, "sqlite:")); err == nil {
			err = d.migrate(ctx)
		}
	case isPostgres(url):
		err = d.openPostgres(ctx, url)
	default:
		err = errors.New(`sql: database url: want "sqlite:PATH" or "postgres://..."`)
	}
	if err != nil {
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// Close ends all connections and releases the lock of the file, in this order, so that nobody else starts while a statement of ours is still running.
func (d *DB) Close() error {
	var errs []error
	if d.reads != nil {
		errs = append(errs, d.reads.Close())
	}
	if d.writes != nil && d.writes != d.reads {
		errs = append(errs, d.writes.Close())
	}
	if d.leases != nil {
		errs = append(errs, d.leases.Close())
	}
	if d.guard != nil {
		errs = append(errs, d.guard.Close())
	}
	return errors.Join(errs...)
}

// Ping answers nil when the database can be read and is fit for use: what
// readiness asks.
func (d *DB) Ping(ctx context.Context) error {
	if err := d.guard.check(); err != nil {
		return err
	}
	if err := d.reads.PingContext(ctx); err != nil {
		return fmt.Errorf("sql: ping: %w", err)
	}
	return nil
}

// migrate applies the embedded migrations, forward only. On SQLite the lock of
// the file keeps others away; on PostgreSQL the caller holds [migrationLock].
func (d *DB) migrate(ctx context.Context) error {
	p, err := d.migrations()
	if err != nil {
		return err
	}
	have, want, err := p.GetVersions(ctx)
	if err != nil {
		return fmt.Errorf("sql: migrations: %w", err)
	}
	if have > want {
		// An older binary does not know what the newer one stored, for
		// instance a column that denies.
		return fmt.Errorf("sql: the database is at version %d, this binary knows %d: run the newer ssogate", have, want)
	}
	if _, err := p.Up(ctx); err != nil {
		return fmt.Errorf("sql: migrate: %w", err)
	}
	return d.index(ctx)
}

// index makes the indexes whose text differs: those in the order of bytes, which
// is SQLite's own and must be asked for on PostgreSQL.
func (d *DB) index(ctx context.Context) error {
	bytes := ""
	if d.engine == enginePostgres {
		bytes = ` COLLATE "C"`
	}
	for _, q := range []string{
		"CREATE INDEX IF NOT EXISTS members_by_name ON members (connection, user_name_folded" + bytes + ")",
		// With the connection first: without statistics SQLite takes the index that
		// more of the conditions fit.
		"CREATE INDEX IF NOT EXISTS members_by_email ON members (connection, email_folded)",
	} {
		if _, err := d.writes.ExecContext(ctx, q); err != nil {
			return fmt.Errorf("sql: index: %w", err)
		}
	}
	return nil
}

func (d *DB) migrations() (*goose.Provider, error) {
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return nil, fmt.Errorf("sql: migrations: %w", err)
	}
	dialect := database.DialectSQLite3
	if d.engine == enginePostgres {
		dialect = database.DialectPostgres
	}
	p, err := goose.NewProvider(dialect, d.writes, files)
	if err != nil {
		return nil, fmt.Errorf("sql: migrations: %w", err)
	}
	return p, nil
}

// versions answers the schema version of the database and of this binary.
func (d *DB) versions(ctx context.Context) (have, want int64, err error) {
	p, err := d.migrations()
	if err != nil {
		return 0, 0, err
	}
	if have, want, err = p.GetVersions(ctx); err != nil {
		return 0, 0, fmt.Errorf("sql: migrations: %w", err)
	}
	return have, want, nil
}
