package run

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/store/redis"
)

// giveBackTime bounds the clean-up of servers that the demo borrowed.
const giveBackTime = 10 * time.Second

// borrowPostgres makes a schema of the demo's own in somebody's database, so
// that a demo neither sees nor leaves anything there. The answered URL uses it;
// giveBack drops it.
func borrowPostgres(ctx context.Context, raw string) (dsn string, giveBack func(context.Context) error, err error) {
	u, err := url.Parse(raw)
	if err != nil || (u.Scheme != "postgres" && u.Scheme != "postgresql") {
		return "", nil, errors.New("demo: --database wants a postgres:// URL")
	}
	schema := "ssogate_demo_" + secret.Sum(secret.NewToken()).Short()
	do := func(ctx context.Context, statement string) error {
		ctx, cancel := context.WithTimeout(ctx, giveBackTime)
		defer cancel()
		c, err := pgx.Connect(ctx, raw)
		if err != nil {
			return fmt.Errorf("demo: --database: %w", err)
		}
		defer func() { _ = c.Close(ctx) }()
		if _, err := c.Exec(ctx, statement); err != nil {
			return fmt.Errorf("demo: --database: %w", err)
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

// borrowRedis answers a key prefix of the demo's own, and how to remove what is under it.
func borrowRedis(raw string) (prefix string, giveBack func(context.Context) error) {
	prefix = "ssogate-demo-" + strings.ToLower(secret.Sum(secret.NewToken()).Short()) + ":"
	return prefix, func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, giveBackTime)
		defer cancel()
		r, _, err := redis.Open(ctx, redis.Options{URL: raw, Prefix: prefix})
		if err != nil {
			return fmt.Errorf("demo: --redis: %w", err)
		}
		return errors.Join(r.Forget(ctx), r.Close())
	}
}
