package run

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/store/redis"
	"github.com/ssogate/ssogate/store/sql"
)

// borrow keeps the demo apart in servers that are not its own: a schema in
// PostgreSQL, a key prefix in Redis, and the promise to remove both.
func (d *Demo) borrow(ctx context.Context, o *DemoOptions) (prefix string, err error) {
	if o.Database != "" {
		var back func(context.Context) error
		if o.Database, back, err = sql.Borrow(ctx, o.Database); err != nil {
			return "", fmt.Errorf("demo: --database: %w", err)
		}
		d.giveBack = append(d.giveBack, back)
	}
	if raw := o.Redis; raw != "" {
		prefix = "ssogate-demo-" + secret.Sum(secret.NewToken()).Short() + ":"
		d.giveBack = append(d.giveBack, func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			r, _, err := redis.Open(ctx, redis.Options{URL: raw, Prefix: prefix})
			if err != nil {
				return fmt.Errorf("demo: --redis: %w", err)
			}
			return errors.Join(r.Forget(ctx), r.Close())
		})
	}
	return prefix, nil
}
