package cluster

import (
	"net"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/ssogate/ssogate/internal/testserver"
)

// Form is how Redis is run.
type Form string

// Forms.
const (
	Single   Form = "single server"
	Sentinel Form = "Sentinel"     // a primary, a replica, three sentinels
	Masters  Form = "three-master" // Cluster, with a replica for each
)

// Forms are all of them, in the order of the report.
func Forms() []Form { return []Form{Single, Sentinel, Masters} }

// Redis is what the nodes share, in one of its forms.
type Redis struct {
	Form Form

	t        testing.TB
	single   *testserver.RedisServer
	sentinel *testserver.SentinelServers
	cluster  *testserver.ClusterServers
	heal     *sync.WaitGroup // a split brain that still grows together
	turns    *int            // which pair of a Cluster fails over next
}

func startRedis(t testing.TB, f Form) Redis {
	t.Helper()
	r := Redis{Form: f, t: t, heal: &sync.WaitGroup{}, turns: new(int)}
	switch f {
	case Sentinel:
		r.sentinel = testserver.StartSentinel(t)
	case Masters:
		r.cluster = testserver.StartCluster(t, true)
	default:
		r.Form, r.single = Single, testserver.StartRedis(t)
	}
	t.Cleanup(r.heal.Wait)
	return r
}

// servers are those that keep keys.
func (r Redis) servers() []*testserver.RedisServer {
	switch r.Form {
	case Sentinel:
		return r.sentinel.Servers
	case Masters:
		return r.cluster.Nodes
	}
	return []*testserver.RedisServer{r.single}
}

// addrs are all servers that a node may connect to, sentinels last.
func (r Redis) addrs() (out []string) {
	for _, s := range r.servers() {
		out = append(out, s.Addr)
	}
	if r.Form == Sentinel {
		out = append(out, r.sentinel.Addrs...)
	}
	return out
}

// URL is what a node is configured with; by way of its relays, if any.
func (r Redis) URL(relays []*testserver.Relay) string {
	var url string
	switch r.Form {
	case Sentinel:
		url = r.sentinel.URL
	case Masters:
		url = r.cluster.URL
	default:
		url = r.single.URL
	}
	for i, addr := range r.addrs() {
		if relays != nil {
			url = strings.Replace(url, addr, relays[i].Addr, 1)
		}
	}
	return url
}

// relays are one node's own ways to every server. Sentinel and Cluster tell their
// clients addresses; each relay makes them name the node's relays instead, or
// the node would soon walk past what can be cut.
func (r Redis) relays(t testing.TB) []*testserver.Relay {
	t.Helper()
	var out []*testserver.Relay
	ports := map[string]string{}
	for _, addr := range r.addrs() {
		relay := testserver.StartRelay(t, addr)
		_, from, _ := net.SplitHostPort(addr)
		_, to, _ := net.SplitHostPort(relay.Addr)
		if len(from) != len(to) {
			t.Fatalf("port %s cannot stand in for port %s: lengths are part of the protocol", to, from)
		}
		ports[from] = to
		out = append(out, relay)
	}
	if r.Form == Single || r.Form == "" {
		return out
	}
	for _, relay := range out {
		relay.Edit(func(b []byte) []byte { return renamePorts(b, ports) })
	}
	return out
}

// renamePorts replaces port numbers where they stand as such: after a colon, a
// space or a line's end, and before one. A number within a record stays.
func renamePorts(b []byte, ports map[string]string) []byte {
	const width = 5 // ports below 10000 are not given out for the asking
	for i := 1; i+width < len(b); i++ {
		if !strings.ContainsRune(": \n", rune(b[i-1])) || !strings.ContainsRune("\r @", rune(b[i+width])) {
			continue
		}
		if to, ok := ports[string(b[i:i+width])]; ok {
			copy(b[i:], to)
		}
	}
	return b
}

// Flush empties every server.
func (r Redis) Flush() {
	for _, s := range r.servers() {
		_, _ = s.Do("FLUSHALL") // a replica refuses, and follows
	}
}

// Failover kills a primary and waits until another has taken its place. A single
// server has none: it is started again.
func (r Redis) Failover() {
	r.t.Helper()
	switch r.Form {
	case Sentinel:
		r.heal.Wait()
		r.sentinel.Failover()
	case Masters:
		r.swap((*testserver.RedisServer).Kill, (*testserver.RedisServer).Start)
	default:
		r.single.Kill()
		r.single.Start()
	}
}

// Split makes two servers believe that they are the same primary. It returns when
// both do, and lets them grow together beside the test.
func (r Redis) Split() {
	r.t.Helper()
	switch r.Form {
	case Sentinel:
		r.heal.Wait()
		old, _ := r.sentinel.Isolate()
		r.heal.Go(func() { r.sentinel.Rejoin(old) })
	case Masters:
		// The old one slept through the election and wakes as a primary.
		r.swap(func(s *testserver.RedisServer) { s.Pause(patience) }, (*testserver.RedisServer).Resume)
	}
}

// swap lets the replica of one pair take over while its primary is away.
func (r Redis) swap(away, back func(*testserver.RedisServer)) {
	r.t.Helper()
	*r.turns++
	i := *r.turns % 3
	primary, replica := r.cluster.Nodes[i], r.cluster.Nodes[3+i]
	if role(primary) != "master" {
		primary, replica = replica, primary
	}
	away(primary)
	until(r.t, "the replica is a primary", func() bool { return role(replica) == "master" })
	back(primary)
	r.heal.Go(func() {
		until(r.t, "the old primary is a replica in step", func() bool {
			info, err := primary.Do("INFO", "replication")
			return err == nil && strings.Contains(info, "role:slave") && strings.Contains(info, "master_link_status:up")
		})
	})
}

func role(s *testserver.RedisServer) string {
	out, err := s.Do("ROLE")
	if err != nil {
		return ""
	}
	name, _, _ := strings.Cut(out, "\n")
	return name
}

// Calls is how many commands of clients all servers have run, without those by
// which servers and sentinels watch one another.
func (r Redis) Calls() (n int64) {
	for _, s := range r.servers() {
		info, err := s.Do("INFO", "commandstats")
		if err != nil {
			continue
		}
		for line := range strings.Lines(info) {
			name, rest, _ := strings.Cut(strings.TrimPrefix(line, "cmdstat_"), ":calls=")
			count, _, _ := strings.Cut(rest, ",")
			switch name {
			case "ping", "info", "publish", "replconf", "role", "cluster", "subscribe", "hello", "client", "auth", "psync":
				continue
			}
			if v, err := strconv.ParseInt(count, 10, 64); err == nil {
				n += v
			}
		}
	}
	return n
}
