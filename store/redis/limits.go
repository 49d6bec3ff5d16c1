package redis

import (
	"context"
	"errors"
	"fmt"
	"time"

	rate "github.com/go-redis/redis_rate/v10"
	goredis "github.com/redis/go-redis/v9"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/sso"
)

// Limits are token buckets that all nodes share, by the clock of the server.
// Safe for concurrent use; every call answers within Options.Timeout, and with
// an error where it cannot be told: the caller then counts alone.
type Limits struct{ db *DB }

// Limits answers the shared limits on this connection.
func (d *DB) Limits() *Limits { return &Limits{db: d} }

// Take implements sso.Shares.
func (l *Limits) Take(ctx context.Context, name string, limit int, per time.Duration) (bool, error) {
	n, err := l.allow(ctx, "limit_take", name, limit, per, 1)
	return n > 0, err
}

// GiveBack implements sso.Shares.
func (l *Limits) GiveBack(ctx context.Context, name string, limit int, per time.Duration) error {
	// The bucket is a point in time until which it is spent; less than nothing
	// moves that point back, and never before now: more than full does not exist.
	_, err := l.allow(ctx, "limit_give_back", name, limit, per, -1)
	return err
}

func (l *Limits) allow(ctx context.Context, op, name string, limit int, per time.Duration, n int) (allowed int, err error) {
	if limit <= 0 || per <= 0 {
		return 0, fmt.Errorf("redis: %s: limit %d in %v", op, limit, per)
	}
	key := secret.Sum(name).String() // of bounded length, and without a hash tag
	at := l.db.limitPrefix() + key
	err = l.db.call(ctx, op, at, func(ctx context.Context, c goredis.UniversalClient) error {
		r, err := rate.NewLimiter(scripter{c, l.db.prefix}).AllowN(ctx, key, rate.Limit{Rate: limit, Burst: limit, Period: per}, n)
		if err == nil {
			allowed = r.Allowed
		}
		return err
	})
	if errors.Is(err, errForeign) {
		l.db.metrics.mismatch()
	}
	return allowed, err
}

// limitPrefix ends in the one that redis_rate cannot be talked out of.
func (d *DB) limitPrefix() string { return d.prefix + "rate:" }

// scripter runs redis_rate's scripts below our own prefix, and never twice: a
// token taken whose answer was lost is not taken again.
type scripter struct {
	goredis.UniversalClient
	prefix string
}

func (s scripter) Eval(ctx context.Context, text string, keys []string, args ...any) *goredis.Cmd {
	return s.send(ctx, script{source: text}, false, keys, args)
}

func (s scripter) EvalSha(ctx context.Context, digest string, keys []string, args ...any) *goredis.Cmd {
	return s.send(ctx, script{digest: digest}, true, keys, args)
}

func (s scripter) send(ctx context.Context, sc script, known bool, keys []string, args []any) *goredis.Cmd {
	own := make([]string, len(keys))
	for i, k := range keys {
		own[i] = s.prefix + k
	}
	cmd := eval(ctx, sc, known, own, args...)
	if err := s.Process(ctx, cmd); err == nil && !verdict(cmd.Val()) {
		cmd.SetErr(errForeign) // redis_rate would panic
	}
	return cmd.Cmd
}

// verdict reports what its scripts answer. An answer that belongs to another
// call is none, or grants one token to the wrong client.
func verdict(v any) bool {
	parts, ok := v.([]any)
	if !ok || len(parts) != 4 {
		return false
	}
	_, a := parts[0].(int64)
	_, b := parts[1].(int64)
	_, c := parts[2].(string)
	_, d := parts[3].(string)
	return a && b && c && d
}

var _ sso.Shares = (*Limits)(nil)
