package sql

import (
	"context"
	"database/sql"
	"errors"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
)

// DirectoryID is the random name of this database, the same for every node and
// for ever. The first call makes it; of two at once both answer the one that is
// kept. A copy of the database has the same name: it holds the same members.
func (d *DB) DirectoryID(ctx context.Context) (string, error) {
	id, err := d.directoryID(ctx)
	if !errors.Is(err, member.ErrNotFound) {
		return id, err
	}
	if err := d.write(ctx, "directory id", "INSERT INTO directory_id (one, id) VALUES (1, $1) ON CONFLICT (one) DO NOTHING", secret.NewToken()); err != nil {
		return "", err
	}
	return d.directoryID(ctx)
}

func (d *DB) directoryID(ctx context.Context) (id string, err error) {
	err = d.within(ctx, func(t *tx) error {
		return t.row("directory id", func(r *sql.Row) error { return r.Scan(&id) }, "SELECT id FROM directory_id WHERE one = 1")
	})
	return id, err
}
