package testserver

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"testing"
)

const clusterSlots = 16384

// ClusterServers are a Redis Cluster on loopback.
type ClusterServers struct {
	URL string // redis+cluster://a,b,c of the masters it began with
	// Nodes are the masters in order of their slots, then as many replicas, each
	// of the master at the same place.
	Nodes []*RedisServer

	t       testing.TB
	masters int
}

// StartCluster starts three masters that share the slots evenly, and a replica
// for each if replicas is set, and waits until all agree. A dead master does not
// stop the others (cluster-require-full-coverage no). They end with the test.
func StartCluster(t testing.TB, replicas bool, args ...string) *ClusterServers {
	t.Helper()
	return startCluster(t, nil, replicas, args)
}

// StartClusterTLS is StartCluster with TLS everywhere, without replicas.
func StartClusterTLS(t testing.TB, files *TLSFiles, args ...string) *ClusterServers {
	t.Helper()
	return startCluster(t, files, false, args)
}

func startCluster(t testing.TB, files *TLSFiles, replicas bool, args []string) *ClusterServers {
	t.Helper()
	c := &ClusterServers{t: t, masters: 3}
	scheme := "redis+cluster://"
	args = append([]string{
		"--cluster-enabled", "yes", "--cluster-require-full-coverage", "no",
		// As long as a sentinel waits: a busy machine must not look like a dead node.
		"--cluster-node-timeout", strconv.FormatInt(sentinelDown.Milliseconds(), 10),
		"--cluster-replica-validity-factor", "0", "--repl-diskless-sync-delay", "0",
	}, args...)
	if files != nil {
		scheme = "rediss+cluster://"
		args = append(args, "--tls-cluster", "yes")
	}
	n := c.masters
	if replicas {
		n *= 2
	}
	buses, addrs := make([]string, n), make([]string, 0, n)
	for i := range n {
		// The usual bus port is the port plus 10000, which may not exist.
		_, buses[i], _ = net.SplitHostPort(freeAddr(t))
		srv := startRedis(t, files, nil, append(args, "--cluster-port", buses[i])...)
		c.Nodes, addrs = append(c.Nodes, srv), append(addrs, srv.Addr)
	}
	c.URL = scheme + strings.Join(addrs[:c.masters], ",")
	c.join(buses)
	return c
}

// join makes one cluster of the nodes.
func (c *ClusterServers) join(buses []string) {
	c.t.Helper()
	host, port, _ := net.SplitHostPort(c.Nodes[0].Addr)
	for i, n := range c.Nodes {
		c.must(n.Do("CLUSTER", "SET-CONFIG-EPOCH", strconv.Itoa(i+1)))
		if i > 0 {
			c.must(n.Do("CLUSTER", "MEET", host, port, buses[0]))
		}
		if i < c.masters {
			first, last := i*clusterSlots/c.masters, (i+1)*clusterSlots/c.masters-1
			c.must(n.Do("CLUSTER", "ADDSLOTSRANGE", strconv.Itoa(first), strconv.Itoa(last)))
		}
	}
	c.await("all nodes know one another", func(n *RedisServer) bool {
		info, err := n.Do("CLUSTER", "INFO")
		return err == nil && strings.Contains(info, "cluster_state:ok") &&
			strings.Contains(info, fmt.Sprintf("cluster_known_nodes:%d\r", len(c.Nodes))) &&
			strings.Contains(info, "cluster_slots_assigned:16384")
	}, c.Nodes)
	for i, n := range c.Nodes[c.masters:] {
		c.must(n.Do("CLUSTER", "REPLICATE", c.id(c.Nodes[i])))
	}
	c.await("replicas are in step", func(n *RedisServer) bool {
		info, err := n.Do("INFO", "replication")
		return err == nil && strings.Contains(info, "master_link_status:up")
	}, c.Nodes[c.masters:])
	// Every node must know the replicas too, or one that asks for a vote is refused.
	c.await("all nodes know the replicas", func(n *RedisServer) bool {
		out, err := n.Do("CLUSTER", "NODES")
		return err == nil && strings.Count(out, "slave ") == len(c.Nodes)-c.masters
	}, c.Nodes)
}

func (c *ClusterServers) must(_ string, err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatalf("testserver: cluster: %v", err)
	}
}

func (c *ClusterServers) await(what string, ok func(*RedisServer) bool, nodes []*RedisServer) {
	c.t.Helper()
	awaitRedis(c.t, what, func() bool {
		for _, n := range nodes {
			if !ok(n) {
				return false
			}
		}
		return true
	})
}

func (c *ClusterServers) id(n *RedisServer) string {
	c.t.Helper()
	id, err := n.Do("CLUSTER", "MYID")
	c.must(id, err)
	return id
}

// Owner is the place in Nodes of the master that key belonged to at the start.
func (c *ClusterServers) Owner(key string) int {
	c.t.Helper()
	for _, n := range c.Nodes {
		out, err := n.Do("CLUSTER", "KEYSLOT", key)
		if err != nil {
			continue // a dead one
		}
		slot, err := strconv.Atoi(out)
		if err != nil {
			c.t.Fatalf("testserver: cluster: slot %q", out)
		}
		for i := range c.masters {
			if slot < (i+1)*clusterSlots/c.masters {
				return i
			}
		}
	}
	c.t.Fatal("testserver: cluster: no node answers")
	return 0
}

// AwaitFailover waits until the replica of master i has taken over its slots
// and all that live agree. It answers the new master.
func (c *ClusterServers) AwaitFailover(i int) *RedisServer {
	c.t.Helper()
	next := c.Nodes[c.masters+i]
	id := c.id(next)
	c.await("the replica is a master", func(n *RedisServer) bool {
		if n == c.Nodes[i] {
			return true
		}
		out, err := n.Do("CLUSTER", "NODES")
		if err != nil {
			return false
		}
		for line := range strings.Lines(out) {
			if strings.HasPrefix(line, id) {
				return strings.Contains(line, "master")
			}
		}
		return false
	}, c.Nodes)
	return next
}

// AwaitOK waits until every node agrees that all slots are served.
func (c *ClusterServers) AwaitOK() {
	c.t.Helper()
	c.await("the cluster is whole", func(n *RedisServer) bool {
		info, err := n.Do("CLUSTER", "INFO")
		return err == nil && strings.Contains(info, "cluster_state:ok") && strings.Contains(info, "cluster_slots_ok:16384")
	}, c.Nodes)
}

// MoveSlot gives the slot of a key, with all keys in it, to the master at place
// to. Clients that do not know yet are told MOVED. begin and end are called
// while it is moving (ASK) and may be nil.
func (c *ClusterServers) MoveSlot(key string, to int, during func()) {
	c.t.Helper()
	from, target := c.Nodes[c.Owner(key)], c.Nodes[to]
	slot, err := from.Do("CLUSTER", "KEYSLOT", key)
	c.must(slot, err)
	c.must(target.Do("CLUSTER", "SETSLOT", slot, "IMPORTING", c.id(from)))
	c.must(from.Do("CLUSTER", "SETSLOT", slot, "MIGRATING", c.id(target)))
	keys, err := from.Do("CLUSTER", "GETKEYSINSLOT", slot, "10000")
	c.must(keys, err)
	host, port, _ := net.SplitHostPort(target.Addr)
	for k := range strings.SplitSeq(keys, "\n") {
		if k != "" {
			c.must(from.Do("MIGRATE", host, port, k, "0", "2000"))
		}
	}
	if during != nil {
		during()
	}
	for _, n := range []*RedisServer{target, from} {
		c.must(n.Do("CLUSTER", "SETSLOT", slot, "NODE", c.id(target)))
	}
	for _, n := range c.Nodes[:c.masters] {
		_, _ = n.Do("CLUSTER", "SETSLOT", slot, "NODE", c.id(target)) // gossip would tell them too
	}
}
