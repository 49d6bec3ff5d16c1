package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/internal/clock"
)

// Defaults of [Options].
const (
	DefaultTimeout = 250 * time.Millisecond // threats, fault 2
	DefaultBudget  = 20000                  // pending sign-ins (C13)
	DefaultPrefix  = "ssogate:"             // of all keys and channels
)

// Options of [Open]. Only URL is required.
type Options struct {
	URL              string        // see config.ParseRedisURL
	CAFile           string        // PEM file of the servers' CA; the system's when ""
	SentinelUser     string        // of the sentinels themselves; they have a default user too
	SentinelPassword string        // of the sentinels themselves
	Now              clock.Func    // time.Now when nil
	Timeout          time.Duration // of one call, connecting included; DefaultTimeout when 0
	Budget           int           // pending sign-ins; DefaultBudget when 0
	Prefix           string        // of all keys, so that a server may be shared; DefaultPrefix when ""
	Metrics          *Metrics      // or nil
	Log              *slog.Logger  // gets one line per change between up and down; or nil
}

// Warning is something an operator should know that does not stop the start.
type Warning string

// DB is an open connection pool. Safe for concurrent use.
type DB struct {
	address config.RedisAddress
	options *goredis.UniversalOptions
	now     clock.Func
	timeout time.Duration
	budget  int
	prefix  string
	metrics *Metrics
	log     *slog.Logger

	client   atomic.Pointer[client]
	breakers breakers
	checks   checks
	suspect  atomic.Int64 // when connections were last under suspicion, unix nanoseconds
	renewed  atomic.Int64 // when they were last replaced, unix nanoseconds

	remember atomic.Bool

	closing sync.Mutex
	closed  bool
	retired map[*client]*time.Timer // replaced, and closed when their calls have ended
}

// Open prepares the connection and looks at the servers once. One that does
// not answer is a [Warning], not an error: sign-in of a fallback owner must
// work while Redis is down, also after a restart (G5). Errors: a malformed URL
// (never quoted), [ErrEviction], [ErrVersion] and [ErrACL]. The caller closes it.
func Open(ctx context.Context, o Options) (*DB, []Warning, error) {
	d := &DB{
		now: o.Now, timeout: o.Timeout, budget: o.Budget, prefix: o.Prefix, metrics: o.Metrics, log: o.Log,
		breakers: breakers{m: map[string]*health{}}, retired: map[*client]*time.Timer{},
	}
	if d.now == nil {
		d.now = time.Now
	}
	if d.timeout <= 0 {
		d.timeout = DefaultTimeout
	}
	if d.budget <= 0 {
		d.budget = DefaultBudget
	}
	if d.prefix == "" {
		d.prefix = DefaultPrefix
	}
	if strings.ContainsAny(d.prefix, "{}*?[]\\") {
		// Braces would change which slot a key is in, the others what Forget finds.
		return nil, nil, errors.New(`redis: prefix: none of {}*?[]\ may be in it`)
	}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if d.address, d.options, err = clientOptions(o, d.timeout); err != nil {
		return nil, nil, err
	}
	// The client library writes a line to stderr for every failed dial, in a
	// format of its own. This package reports what matters once.
	goredis.SetLogger(silent{})
	d.client.Store(d.connect())
	warnings, err := d.look(ctx)
	if unfit(err) {
		return nil, nil, errors.Join(err, d.Close())
	}
	if err != nil {
		warnings = append(warnings, Warning(fmt.Sprintf("%v; sign-in answers 503 until it does", err)))
	}
	return d, warnings, nil
}

// Close ends all connections. Calls afterwards fail.
func (d *DB) Close() error {
	d.closing.Lock()
	defer d.closing.Unlock()
	d.closed = true
	for old, timer := range d.retired {
		if timer.Stop() {
			_ = old.Close()
		}
	}
	clear(d.retired)
	if err := d.client.Load().Close(); err != nil {
		return fmt.Errorf("redis: close: %w", err)
	}
	return nil
}

// Forget removes every key below this connection's prefix: what a demo does
// before it leaves somebody's server. It refuses the default prefix, under which
// a real gateway may live.
func (d *DB) Forget(ctx context.Context) error {
	if d.prefix == DefaultPrefix {
		return errors.New("redis: forget: only keys under a prefix of one's own")
	}
	c := d.client.Load()
	if c.cluster == nil {
		return d.forget(ctx, c)
	}
	return c.cluster.ForEachMaster(ctx, func(ctx context.Context, node *goredis.Client) error { return d.forget(ctx, node) })
}

// forget empties one server.
func (d *DB) forget(ctx context.Context, c goredis.UniversalClient) error {
	for cursor := uint64(0); ; {
		keys, next, err := c.Scan(ctx, cursor, d.prefix+"*", 500).Result()
		if err != nil {
			return fmt.Errorf("redis: forget: %w", err)
		}
		// One by one: those of a page are in different slots.
		_, err = c.Pipelined(ctx, func(p goredis.Pipeliner) error {
			for _, k := range keys {
				p.Unlink(ctx, k)
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("redis: forget: %w", err)
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

// refused reports an answer of the server itself, unlike a broken connection.
func refused(err error) bool {
	var answer goredis.Error
	return errors.As(err, &answer)
}

func isTimeout(err error) bool {
	var t interface{ Timeout() bool }
	return errors.As(err, &t) && t.Timeout()
}

// silent swallows what the client library would print.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}
