package sql

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ssogate/ssogate/internal/secret"
)

// borrowTime bounds each statement of Borrow.
const borrowTime = 10 * time.Second

// Borrow makes a schema with a random name in somebody's PostgreSQL database, so
// that a demo neither sees nor leaves anything there. The answered URL opens it;
// giveBack drops it with everything inside and must be called once the DB is closed.
func Borrow(ctx context.Context, raw string) (dsn string, giveBack func(context.Context) error, err error) {
	u, err := url.Parse(raw)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		return "", nil, errors.New("sql: borrow: want a postgres:// URL")
	}
	schema := "ssogate_demo_" + secret.Sum(secret.NewToken()).Short()
	do := func(ctx context.Context, statement string) error {
		ctx, cancel := context.WithTimeout(ctx, borrowTime)
		defer cancel()
		c, err := pgx.Connect(ctx, raw)
		if err != nil {
			return fmt.Errorf("sql: borrow: %w", err)
		}
		defer func() { _ = c.Close(ctx) }()
		if _, err := c.Exec(ctx, statement); err != nil {
			return fmt.Errorf("sql: borrow: %w", err)
		}
		return nil
	}
	if err := do(ctx, "CREATE SCHEMA "+schema); err != nil {
		return "", nil, err
	}
	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = q.Encode()
	return u.String(), func(ctx context.Context) error { return do(ctx, "DROP SCHEMA "+schema+" CASCADE") }, nil
}
