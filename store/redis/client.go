package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"time"

	goredis "github.com/redis/go-redis/v9"

	"github.com/ssogate/ssogate/config"
)

// renewEvery bounds how often all connections are replaced.
const renewEvery = time.Second

// errReplica refuses a connection that Sentinel led to a server which is not the
// master, or not yet. Nothing was sent on it.
var errReplica = errors.New("the server is not the master")

// client is one pool of connections, to one server or to all of a cluster.
type client struct {
	goredis.UniversalClient
	cluster *goredis.ClusterClient // the same; nil when it is no cluster
}

func (d *DB) connect() *client {
	o := *d.options // the library fills in defaults
	o.Dialer = d.dial
	h := hook{d: d}
	switch d.address.Kind {
	case config.RedisCluster:
		co := o.Cluster()
		// Otherwise the library asks COMMAND before the first command, for up to
		// 5 s whatever our deadline, and again each time where an ACL forbids it.
		co.DisableRoutingPolicies = true
		co.ClusterStateReloadInterval = reloadEvery
		c := goredis.NewClusterClient(co)
		h.reload = c.ReloadState
		c.OnNewNode(func(node *goredis.Client) { node.AddHook(h) })
		return &client{UniversalClient: c, cluster: c}
	case config.RedisSentinel:
		// As Redis' guide for Sentinel clients demands: a sentinel may name a server
		// that is a replica already, and reads from that one would be stale.
		o.OnConnect = refuseReplica
	case config.RedisSingle:
	}
	return &client{UniversalClient: goredis.NewUniversalClient(&o)}
}

// dial keeps to the caller's deadline, which the library's own TLS dialer does
// not, and verifies the host that it dials.
func (d *DB) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	plain := &net.Dialer{Timeout: d.timeout}
	if d.options.TLSConfig == nil {
		return plain.DialContext(ctx, network, addr)
	}
	ctx, cancel := context.WithTimeout(ctx, d.timeout) // the handshake too
	defer cancel()
	return (&tls.Dialer{NetDialer: plain, Config: d.options.TLSConfig}).DialContext(ctx, network, addr)
}

// refuseReplica also runs on connections to the sentinels, which say "sentinel".
func refuseReplica(ctx context.Context, cn *goredis.Conn) error {
	role, err := cn.Do(ctx, "role").Slice()
	switch {
	case refused(err):
		return nil // an ACL forbids it: a start-up check says so
	case err != nil:
		return fmt.Errorf("redis: role: %w", err)
	case len(role) > 0 && text(role[0]) == "slave":
		return errReplica
	}
	return nil
}

// hook sees the answer of each single server.
type hook struct {
	d      *DB
	reload func(context.Context) // of a cluster's map; nil otherwise
}

func (h hook) DialHook(next goredis.DialHook) goredis.DialHook { return next }

func (h hook) ProcessHook(next goredis.ProcessHook) goredis.ProcessHook {
	return func(ctx context.Context, cmd goredis.Cmder) error {
		err := next(ctx, cmd)
		h.see(ctx, err)
		return err
	}
}

func (h hook) ProcessPipelineHook(next goredis.ProcessPipelineHook) goredis.ProcessPipelineHook {
	return func(ctx context.Context, cmds []goredis.Cmder) error {
		err := next(ctx, cmds)
		for _, cmd := range cmds {
			h.see(ctx, cmd.Err())
		}
		return err
	}
}

func (h hook) see(ctx context.Context, err error) {
	if err == nil || h.reload == nil {
		return
	}
	_, moved := goredis.IsMovedError(err)
	_, ask := goredis.IsAskError(err)
	if moved || ask {
		h.d.metrics.failover()
		return
	}
	if !refused(err) {
		// The library looks for a new master when a server redirects, and not when
		// it is dead: requests would go to a dead one until the next routine look.
		h.reload(ctx)
	}
}

// renew replaces all connections by new ones, at most once a second. Calls under
// way on the old ones have their time to end.
func (d *DB) renew() {
	now, last := time.Now().UnixNano(), d.renewed.Load()
	if now-last < int64(renewEvery) || !d.renewed.CompareAndSwap(last, now) {
		return
	}
	if old := d.replace(d.connect()); old != nil {
		d.retire(old)
	}
}

// replace puts fresh in place and answers the old client, which the caller
// closes. On a closed DB it closes fresh and answers nil.
func (d *DB) replace(fresh *client) (old *client) {
	d.closing.Lock()
	defer d.closing.Unlock()
	if d.closed {
		_ = fresh.Close()
		return nil
	}
	return d.client.Swap(fresh)
}

func (d *DB) retire(old *client) {
	d.closing.Lock()
	defer d.closing.Unlock()
	if d.closed {
		_ = old.Close()
		return
	}
	d.retired[old] = time.AfterFunc(2*d.timeout, func() {
		d.closing.Lock()
		delete(d.retired, old)
		d.closing.Unlock()
		_ = old.Close()
	})
}
