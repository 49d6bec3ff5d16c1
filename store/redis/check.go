package redis

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/ssogate/ssogate/config"
)

// Errors of servers on which sessions must not be kept.
var (
	// ErrEviction means the server is set up to throw away records when memory is
	// short. A lost session signs somebody out; a lost "this assertion was used"
	// lets a replay in. Only "maxmemory-policy noeviction" is safe.
	ErrEviction = errors.New("redis: server evicts keys: set maxmemory-policy to noeviction")
	// ErrVersion means that the server is too old for the commands used here.
	ErrVersion = errors.New("redis: server is too old: 6.2 or later is needed")
	// ErrKind means that redis.url and the server disagree about being a cluster.
	ErrKind = errors.New("redis: the server is part of a cluster: write redis+cluster:// in redis.url")
)

// unfit reports an error that waiting does not cure.
func unfit(err error) bool {
	return errors.Is(err, ErrEviction) || errors.Is(err, ErrVersion) || errors.Is(err, ErrACL) || errors.Is(err, ErrKind)
}

// checks is what is known about the servers.
type checks struct {
	mu        sync.Mutex
	fit       map[string]bool // runs of servers that were looked at in full
	directory string          // whose sessions these are; "" when nobody said
	claimed   time.Time       // when the mark was last read
	foreign   bool            // it was another's
}

// known reports whether this run of a server was looked at, which a restart or a
// failover undoes.
func (c *checks) known(run string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fit[run]
}

func (c *checks) note(run string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.fit == nil || len(c.fit) > 1000 {
		c.fit = map[string]bool{}
	}
	c.fit[run] = true
}

// master is one server that takes writes.
type master struct {
	addr   string // "" when there is but one
	client goredis.UniversalClient
	tag    string // hash tag of keys that it has
}

// Ping answers nil when sessions can be kept: what readiness asks. It is never
// held back by the circuit breaker, and ends its pause. It looks at the eviction
// policy of every master, in full at one that was not seen before (after a
// restart or failover), and at the mark of [DB.Claim]. Errors: [ErrEviction],
// [ErrVersion], [ErrACL], [ErrDirectory], and whatever kept every server from
// answering. Of a cluster one that answers is enough: readiness that went down
// with one of its masters would take the sessions on all others along.
func (d *DB) Ping(ctx context.Context) error {
	_, err := d.look(ctx)
	if err == nil {
		err = d.claim(ctx)
		if d.address.Kind == config.RedisCluster && !errors.Is(err, ErrDirectory) && !unfit(err) {
			err = nil // the mark is on a server that does not answer
		}
	}
	return err
}

// look is Ping without the mark, with what an operator should know.
func (d *DB) look(ctx context.Context) ([]Warning, error) {
	all, err := d.masters(ctx)
	if err != nil {
		return nil, d.explain(err)
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	var warnings []Warning
	var bad, dead []error
	for _, m := range all {
		wg.Go(func() {
			w, err := d.inspect(ctx, m)
			mu.Lock()
			defer mu.Unlock()
			warnings = append(warnings, w...)
			switch {
			case unfit(err):
				bad = append(bad, err)
			case err != nil:
				dead = append(dead, err)
			}
		})
	}
	wg.Wait()
	switch {
	case len(bad) > 0:
		return warnings, errors.Join(bad...)
	case len(dead) == len(all):
		return warnings, errors.Join(dead...)
	}
	for _, err := range dead {
		warnings = append(warnings, Warning(fmt.Sprintf("%v; sessions on that server answer 503 until it does", err)))
	}
	return warnings, nil
}

// masters lists them, in a cluster as it is now.
func (d *DB) masters(ctx context.Context) ([]master, error) {
	limited, cancel := context.WithTimeout(ctx, d.timeout)
	defer cancel()
	c := d.client.Load()
	if c.cluster == nil {
		return []master{{client: c, tag: "0"}}, nil
	}
	var mu sync.Mutex
	nodes := map[string]*goredis.Client{}
	h := d.breakers.of("")
	err := c.cluster.ForEachMaster(limited, func(_ context.Context, node *goredis.Client) error {
		mu.Lock()
		defer mu.Unlock()
		nodes[node.Options().Addr] = node
		return nil
	})
	d.learn(ctx, h, err, breakAfter)
	if err != nil {
		return nil, fmt.Errorf("redis: masters of the cluster: %w", err)
	}
	var all []master
	current := map[string]bool{}
	// Which key is where only the client's map can tell.
	for i := 0; i < 100*len(nodes) && len(all) < len(nodes); i++ {
		tag := strconv.Itoa(i)
		node, err := c.cluster.MasterForKey(limited, "{"+tag+"}")
		if err != nil {
			return nil, fmt.Errorf("redis: masters of the cluster: %w", err)
		}
		if addr := node.Options().Addr; nodes[addr] != nil && !current[addr] {
			current[addr] = true
			all = append(all, master{addr: addr, client: node, tag: tag})
		}
	}
	d.breakers.keep(current)
	return all, nil
}

// inspect looks at one master. Each call has the time of one.
func (d *DB) inspect(ctx context.Context, m master) ([]Warning, error) {
	h := d.breakers.of(m.addr)
	ask := func(op string, fn doFunc) error {
		limited, cancel := context.WithTimeout(ctx, d.timeout)
		defer cancel()
		err := d.try(ctx, limited, h, op, func(ctx context.Context, c goredis.UniversalClient) error {
			if m.addr != "" {
				c = m.client
			}
			return fn(ctx, c)
		})
		if err != nil && m.addr != "" {
			err = fmt.Errorf("%s: %w", m.addr, err)
		}
		return d.explain(err)
	}
	if err := ask("ping", func(ctx context.Context, c goredis.UniversalClient) error { return c.Ping(ctx).Err() }); err != nil {
		return nil, err
	}
	var info map[string]string
	if err := ask("info", func(ctx context.Context, c goredis.UniversalClient) (err error) {
		info, err = inform(ctx, c)
		return err
	}); err != nil {
		return nil, err
	}
	warnings, err := evicts(info)
	if err != nil {
		return nil, err
	}
	run := info["run_id"] // "" when it will not tell: one look must do
	if d.checks.known(m.addr + run) {
		return warnings, nil
	}
	if v := info["redis_version"]; tooOld(v) {
		return nil, fmt.Errorf("%w (it is %s)", ErrVersion, v)
	}
	if info["redis_mode"] == "cluster" && d.address.Kind != config.RedisCluster {
		return nil, ErrKind
	}
	if err := ask("check", func(ctx context.Context, c goredis.UniversalClient) error { return d.permitted(ctx, c, m.tag) }); err != nil {
		return nil, err
	}
	d.checks.note(m.addr + run)
	return warnings, nil
}

// inform asks what the server tells about itself. INFO comes first: managed
// services and careful ACLs forbid CONFIG. One that tells nothing is no error.
func inform(ctx context.Context, c goredis.UniversalClient) (map[string]string, error) {
	out := map[string]string{}
	for _, section := range []string{"server", "memory"} { // several at once is 7.0
		text, err := c.Info(ctx, section).Result()
		if err != nil && !refused(err) {
			return nil, err
		}
		for line := range strings.Lines(text) {
			if k, v, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
				out[k] = v
			}
		}
	}
	if out["maxmemory_policy"] == "" {
		conf, err := c.ConfigGet(ctx, "maxmemory-policy").Result()
		if err != nil && !refused(err) {
			return nil, err
		}
		out["maxmemory_policy"] = conf["maxmemory-policy"]
	}
	return out, nil
}

// evicts judges the policy, which takes effect only at a memory limit.
func evicts(info map[string]string) ([]Warning, error) {
	switch policy := info["maxmemory_policy"]; {
	case policy == "":
		return []Warning{"redis: the server does not tell its maxmemory-policy; make sure it is noeviction"}, nil
	case policy == "noeviction":
		return nil, nil
	case info["maxmemory"] == "0":
		return []Warning{Warning(fmt.Sprintf("redis: maxmemory-policy is %q; it has no effect without maxmemory, but set it to noeviction", policy))}, nil
	default:
		return nil, fmt.Errorf("%w (it is %q)", ErrEviction, policy)
	}
}

// tooOld reads "6.2.14". What is no version is not judged.
func tooOld(v string) bool {
	a, rest, _ := strings.Cut(v, ".")
	b, _, _ := strings.Cut(rest, ".")
	major, err := strconv.Atoi(a)
	if err != nil {
		return false
	}
	minor, err := strconv.Atoi(b)
	return major < 6 || major == 6 && err == nil && minor < 2
}
