package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/ssogate/ssogate/internal/clock"
)

// Defaults of [Options].
const (
	DefaultTimeout = 250 * time.Millisecond // threats, fault 2
	DefaultBudget  = 20000                  // pending sign-ins (C13)
	DefaultPrefix  = "ssogate:"             // of all keys
)

// ErrEviction means the server is set up to throw away records when memory is
// short. A lost session signs somebody out; a lost "this assertion was used"
// lets a replay in. Only "maxmemory-policy noeviction" is safe.
var ErrEviction = errors.New("redis: server evicts keys: set maxmemory-policy to noeviction")

// Options of [Open]. Only URL is required.
type Options struct {
	URL     string        // redis:// or rediss://
	Now     clock.Func    // time.Now when nil
	Timeout time.Duration // of one call, connecting included; DefaultTimeout when 0
	Budget  int           // pending sign-ins; DefaultBudget when 0
	Prefix  string        // of all keys, so that a server may be shared; DefaultPrefix when ""
	Metrics *Metrics      // or nil
	Log     *slog.Logger  // gets one line per change between up and down; or nil
}

// Warning is something an operator should know that does not stop the start.
type Warning string

// DB is an open connection pool. Safe for concurrent use.
type DB struct {
	client  atomic.Pointer[client]
	options *goredis.UniversalOptions
	now     clock.Func
	timeout time.Duration
	budget  int
	prefix  string
	scripts scripts
	metrics *Metrics
	log     *slog.Logger
	health  health
	checked atomic.Bool  // the eviction policy was seen to be safe, or cannot be seen
	suspect atomic.Int64 // when connections were last under suspicion, unix nanoseconds
}

// client wraps the interface, so that an atomic.Pointer can hold it.
type client struct{ goredis.UniversalClient }

// Open prepares the connection and looks at the server once. A server that does
// not answer is a [Warning], not an error: sign-in of a fallback owner must
// work while Redis is down, also after a restart (G5). Errors: a malformed URL
// (never quoted) and [ErrEviction]. The caller closes it.
func Open(ctx context.Context, o Options) (*DB, []Warning, error) {
	d := &DB{now: o.Now, timeout: o.Timeout, budget: o.Budget, metrics: o.Metrics, log: o.Log, scripts: newScripts()}
	if d.now == nil {
		d.now = time.Now
	}
	if d.timeout <= 0 {
		d.timeout = DefaultTimeout
	}
	if d.budget <= 0 {
		d.budget = DefaultBudget
	}
	if d.prefix = o.Prefix; d.prefix == "" {
		d.prefix = DefaultPrefix
	}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if d.options, err = parseURL(o.URL, d.timeout); err != nil {
		return nil, nil, err
	}
	// The client library writes a line to stderr for every failed dial, in a
	// format of its own. This package reports what matters once.
	goredis.SetLogger(silent{})
	d.client.Store(d.connect())
	if err := d.Ping(ctx); errors.Is(err, ErrEviction) {
		return nil, nil, errors.Join(err, d.Close())
	} else if err != nil {
		return d, []Warning{Warning(fmt.Sprintf("%v; sign-in answers 503 until it does", err))}, nil
	}
	return d, d.warnings(ctx), nil
}

func (d *DB) connect() *client {
	o := *d.options // the library fills in defaults
	return &client{goredis.NewUniversalClient(&o)}
}

// Close ends all connections. Calls afterwards fail.
func (d *DB) Close() error {
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
	for cursor := uint64(0); ; {
		keys, next, err := c.Scan(ctx, cursor, d.prefix+"*", 500).Result()
		if err != nil {
			return fmt.Errorf("redis: forget: %w", err)
		}
		if len(keys) > 0 {
			if err := c.Unlink(ctx, keys...).Err(); err != nil {
				return fmt.Errorf("redis: forget: %w", err)
			}
		}
		if cursor = next; cursor == 0 {
			return nil
		}
	}
}

// Ping answers nil when the server can be used: what readiness asks. It is
// never held back by the circuit breaker, and ends its pause. Until the
// server's eviction policy was seen it looks at that too: [ErrEviction].
func (d *DB) Ping(ctx context.Context) error {
	err := d.try(ctx, "ping", func(ctx context.Context, c goredis.UniversalClient) error {
		return c.Ping(ctx).Err()
	})
	if err != nil || d.checked.Load() {
		return err
	}
	policy, limited, err := d.eviction(ctx)
	switch {
	case err != nil:
		return err
	case policy != "" && policy != "noeviction" && limited:
		return fmt.Errorf("%w (it is %q)", ErrEviction, policy)
	}
	d.checked.Store(true)
	return nil
}

// warnings about a server that answers.
func (d *DB) warnings(ctx context.Context) []Warning {
	policy, _, err := d.eviction(ctx)
	switch {
	case err != nil:
		return []Warning{Warning(err.Error())}
	case policy == "":
		return []Warning{"redis: the server does not tell its maxmemory-policy; make sure it is noeviction"}
	case policy != "noeviction":
		return []Warning{Warning(fmt.Sprintf("redis: maxmemory-policy is %q; it has no effect without maxmemory, but set it to noeviction", policy))}
	}
	return nil
}

// eviction answers the policy, "" when the server will not tell, and whether
// there is a memory limit at which it takes effect. INFO comes first: managed
// services and careful ACLs forbid CONFIG.
func (d *DB) eviction(ctx context.Context) (policy string, limited bool, err error) {
	limited = true // unless the server says otherwise
	err = d.try(ctx, "info", func(ctx context.Context, c goredis.UniversalClient) error {
		info, err := c.Info(ctx, "memory").Result()
		if err == nil {
			for line := range strings.Lines(info) {
				k, v, _ := strings.Cut(strings.TrimSpace(line), ":")
				switch k {
				case "maxmemory":
					limited = v != "0"
				case "maxmemory_policy":
					policy = v
				}
			}
		}
		if refused(err) || (err == nil && policy == "") {
			conf, cerr := c.ConfigGet(ctx, "maxmemory-policy").Result()
			policy, err = conf["maxmemory-policy"], cerr
		}
		if refused(err) {
			return nil // it answers, and will not tell
		}
		return err
	})
	return policy, limited, err
}

// refused reports an answer of the server itself, unlike a broken connection.
func refused(err error) bool {
	var answer goredis.Error
	return errors.As(err, &answer)
}

// silent swallows what the client library would print.
type silent struct{}

func (silent) Printf(context.Context, string, ...any) {}
