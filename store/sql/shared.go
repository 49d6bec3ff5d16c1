package sql

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/stdlib"
)

// OpenShared opens a PostgreSQL database beside a running node, without the
// single-node lock, for a command that only adds, lists or removes rows which no
// node caches (bearer tokens). It migrates nothing: a database at another version
// is refused. A SQLite file cannot be shared; its process is asked instead.
func OpenShared(ctx context.Context, url string) (*DB, error) {
	if !strings.HasPrefix(url, "postgres://") && !strings.HasPrefix(url, "postgresql://") {
		return nil, errors.New("sql: only a PostgreSQL database can be shared")
	}
	conf, err := postgresConfig(url)
	if err != nil {
		return nil, err
	}
	pool := stdlib.OpenDB(*conf)
	pool.SetMaxOpenConns(2)
	d := &DB{engine: enginePostgres, reads: pool, writes: pool, guard: noGuard{}, now: time.Now}
	have, want, err := d.versions(ctx)
	switch {
	case err != nil:
		return nil, errors.Join(err, d.Close())
	case have != want:
		err = fmt.Errorf("sql: the database is at version %d, this binary knows %d: start ssogate once, or run the matching one", have, want)
		return nil, errors.Join(err, d.Close())
	}
	return d, nil
}

// noGuard stands where nothing depends on being alone.
type noGuard struct{}

func (noGuard) held() bool   { return true }
func (noGuard) Close() error { return nil }
