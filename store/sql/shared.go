package sql

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// OpenShared opens a PostgreSQL database for a command beside running nodes. It
// is [Open] with few connections and without migrating: a command must not
// change the schema under nodes of another version, so a database at another
// version is refused. A SQLite file cannot be shared; its process is asked instead.
func OpenShared(ctx context.Context, url string) (*DB, error) {
	if !isPostgres(url) {
		return nil, errors.New("sql: only a PostgreSQL database can be shared")
	}
	conf, err := postgresConfig(url)
	if err != nil {
		return nil, err
	}
	d := &DB{now: time.Now, lookMost: lookMost}
	d.connect(conf, 2, 1)
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
