package testserver

import (
	"fmt"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

const (
	sentinelMaster = "main"
	sentinelDown   = time.Second // silence after which a primary counts as down: a busy machine must not do that by itself
	// Sentinels and replicas log in as a user of their own, so that Isolate can
	// shut out them and nobody else. The default user is off for the same reason.
	watcher = "watcher"
	client  = "client"
)

// SentinelServers are a primary, a replica and three sentinels on loopback.
// Methods are safe for concurrent use, except that one failover is waited for at a time.
type SentinelServers struct {
	URL     string         // redis+sentinel://client:client@a,b,c/main
	Addrs   []string       // of the sentinels
	Servers []*RedisServer // whoever is the primary now

	t         testing.TB
	files     *TLSFiles
	sentinels []*process
}

// StartSentinel starts a primary, a replica and three sentinels, and waits until
// they know one another. args are added to both servers. They end with the test.
func StartSentinel(t testing.TB, args ...string) *SentinelServers {
	t.Helper()
	return startSentinel(t, nil, args)
}

// StartSentinelTLS is StartSentinel with TLS everywhere.
func StartSentinelTLS(t testing.TB, files *TLSFiles, args ...string) *SentinelServers {
	t.Helper()
	return startSentinel(t, files, args)
}

func startSentinel(t testing.TB, files *TLSFiles, args []string) *SentinelServers {
	t.Helper()
	s := &SentinelServers{t: t, files: files}
	args = append([]string{
		"--user", watcher, "on", ">" + watcher, "~*", "&*", "+@all",
		"--user", client, "on", ">" + client, "~*", "&*", "+@all",
		"--user", "default", "off",
		"--masteruser", watcher, "--masterauth", watcher,
		"--repl-diskless-sync-delay", "0", "--repl-ping-replica-period", "1",
	}, args...)
	login := url.UserPassword(client, client)
	primary := startRedis(t, files, login, args...)
	// Told by command and not by argument: a server that is started again must
	// not come up as the replica of a primary of long ago.
	replica := startRedis(t, files, login, args...)
	s.Servers = []*RedisServer{primary, replica}
	host, port, _ := net.SplitHostPort(primary.Addr)
	s.must(replica.Do("REPLICAOF", host, port))
	s.await("the replica is in step", func() bool {
		info, _ := replica.Do("INFO", "replication")
		return strings.Contains(info, "master_link_status:up")
	})
	for range 3 {
		s.startSentinelProcess(host, port)
	}
	scheme := "redis+sentinel://"
	if files != nil {
		scheme = "rediss+sentinel://"
	}
	s.URL = scheme + login.String() + "@" + strings.Join(s.Addrs, ",") + "/" + sentinelMaster
	s.awaitReady()
	return s
}

// startSentinelProcess starts one sentinel. It rewrites its own config file, so
// it gets one.
func (s *SentinelServers) startSentinelProcess(host, port string) {
	s.t.Helper()
	dir := s.t.TempDir()
	var last error
	for range 5 {
		addr := freeAddr(s.t)
		_, own, _ := net.SplitHostPort(addr)
		lines := []string{
			"bind 127.0.0.1", "dir " + dir,
			fmt.Sprintf("sentinel monitor %s %s %s 2", sentinelMaster, host, port),
			fmt.Sprintf("sentinel down-after-milliseconds %s %d", sentinelMaster, sentinelDown.Milliseconds()),
			fmt.Sprintf("sentinel failover-timeout %s 2000", sentinelMaster),
			fmt.Sprintf("sentinel auth-user %s %s", sentinelMaster, watcher),
			fmt.Sprintf("sentinel auth-pass %s %s", sentinelMaster, watcher),
		}
		if f := s.files; f != nil {
			lines = append(lines, "port 0", "tls-port "+own, "tls-replication yes", "tls-auth-clients no",
				"tls-cert-file "+f.CertFile, "tls-key-file "+f.KeyFile, "tls-ca-cert-file "+f.CAFile)
		} else {
			lines = append(lines, "port "+own)
		}
		conf := filepath.Join(dir, "sentinel.conf")
		if err := os.WriteFile(conf, []byte(strings.Join(lines, "\n")+"\n"), 0o600); err != nil {
			s.t.Fatalf("testserver: sentinel: %v", err)
		}
		p, err := startProcess(filepath.Join(dir, "log"), redisBinary(s.t), conf, "--sentinel")
		if err != nil {
			s.t.Fatalf("testserver: sentinel: %v", err)
		}
		s.t.Cleanup(func() { p.end(syscall.SIGKILL) })
		if last = s.answers(addr, p, filepath.Join(dir, "log")); last == nil {
			s.Addrs, s.sentinels = append(s.Addrs, addr), append(s.sentinels, p)
			return
		}
	}
	s.t.Fatalf("testserver: sentinel: %v", last)
}

func (s *SentinelServers) answers(addr string, p *process, log string) error {
	for end := time.Now().Add(15 * time.Second); time.Now().Before(end); {
		if pong, err := s.do(addr, "PING"); err == nil && pong == "PONG" {
			return nil
		}
		select {
		case <-p.done: // somebody else took the port
			out, _ := os.ReadFile(log)
			return fmt.Errorf("ended at once: %s", tail(string(out)))
		case <-time.After(10 * time.Millisecond):
		}
	}
	return fmt.Errorf("%s does not answer PING within 15 s", addr)
}

func (s *SentinelServers) do(addr string, args ...string) (string, error) {
	if s.files != nil {
		return respDo(addr, s.files.client, nil, args)
	}
	return respDo(addr, nil, nil, args)
}

func (s *SentinelServers) must(_ string, err error) {
	s.t.Helper()
	if err != nil {
		s.t.Fatalf("testserver: sentinel: %v", err)
	}
}

func (s *SentinelServers) await(what string, ok func() bool) {
	s.t.Helper()
	awaitRedis(s.t, what, ok)
}

func awaitRedis(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(60 * time.Second); !ok(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("testserver: not within 60 s: %s", what)
		}
	}
}

// AwaitInStep waits until a replica has received all that was written to the
// server so far. (WAIT would do for the connection that wrote only.)
func (s *RedisServer) AwaitInStep() {
	s.t.Helper()
	end := ""
	awaitRedis(s.t, "a replica is in step", func() bool {
		info, err := s.Do("INFO", "replication")
		if err != nil {
			return false
		}
		if end == "" {
			_, rest, _ := strings.Cut(info, "master_repl_offset:")
			end, _, _ = strings.Cut(rest, "\r")
		}
		_, rest, ok := strings.Cut(info, "slave0:")
		line, _, _ := strings.Cut(rest, "\r")
		_, offset, _ := strings.Cut(line, "offset=")
		offset, _, _ = strings.Cut(offset, ",")
		got, err1 := strconv.ParseInt(offset, 10, 64)
		want, err2 := strconv.ParseInt(end, 10, 64)
		return ok && err1 == nil && err2 == nil && got >= want
	})
}

// awaitReady waits until every sentinel sees both others and a replica that
// could take over: before that a failover is refused.
func (s *SentinelServers) awaitReady() {
	s.t.Helper()
	s.await("three sentinels and a replica know one another", func() bool {
		for _, a := range s.Addrs {
			m, err := s.master(a)
			if err != nil || m["num-other-sentinels"] != "2" || m["flags"] != "master" || !s.replicaGood(a) {
				return false
			}
		}
		return true
	})
}

func (s *SentinelServers) master(addr string) (map[string]string, error) {
	out, err := s.do(addr, "SENTINEL", "MASTER", sentinelMaster)
	return fields(out), err
}

func (s *SentinelServers) replicaGood(addr string) bool {
	out, err := s.do(addr, "SENTINEL", "REPLICAS", sentinelMaster)
	return err == nil && fields(out)["flags"] == "slave" && fields(out)["master-link-status"] == "ok"
}

// fields reads an array of names and values.
func fields(out string) map[string]string {
	parts := strings.Split(out, "\n")
	m := map[string]string{}
	for i := 0; i+1 < len(parts); i += 2 {
		m[parts[i]] = parts[i+1]
	}
	return m
}

// Primary is whom most sentinels call the primary now. It may be down.
func (s *SentinelServers) Primary() *RedisServer {
	s.t.Helper()
	var found *RedisServer
	s.await("most sentinels name one primary", func() bool {
		votes := map[string]int{}
		for _, a := range s.Addrs {
			if out, err := s.do(a, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", sentinelMaster); err == nil {
				votes[strings.Replace(out, "\n", ":", 1)]++
			}
		}
		for _, srv := range s.Servers {
			if votes[srv.Addr] >= 2 {
				found = srv
				return true
			}
		}
		return false
	})
	return found
}

// AwaitFailover waits until every sentinel names another primary than old, and
// it takes writes. It answers that one.
func (s *SentinelServers) AwaitFailover(old *RedisServer) *RedisServer {
	s.t.Helper()
	next := s.other(old)
	s.await("the replica is the primary", func() bool {
		for _, a := range s.Addrs {
			out, err := s.do(a, "SENTINEL", "GET-MASTER-ADDR-BY-NAME", sentinelMaster)
			if err != nil || strings.Replace(out, "\n", ":", 1) != next.Addr {
				return false
			}
		}
		role, err := next.Do("ROLE")
		return err == nil && strings.HasPrefix(role, "master")
	})
	return next
}

func (s *SentinelServers) other(old *RedisServer) *RedisServer {
	if s.Servers[0] == old {
		return s.Servers[1]
	}
	return s.Servers[0]
}

// Failover makes the replica the primary in good order and answers it. Writes
// that the replica had not received are lost, as in a real one.
func (s *SentinelServers) Failover() *RedisServer {
	s.t.Helper()
	s.awaitReady()
	old := s.Primary()
	s.await("a sentinel starts a failover", func() bool {
		// INPROG and NOGOODSLAVE pass with time.
		_, err := s.do(s.Addrs[0], "SENTINEL", "FAILOVER", sentinelMaster)
		return err == nil
	})
	return s.AwaitFailover(old)
}

// Isolate splits the brain: sentinels and the replica can no longer log in to
// the primary, so they elect another, while clients that still hold on to the
// old one are served by it as if nothing had happened. It answers both.
func (s *SentinelServers) Isolate() (old, next *RedisServer) {
	s.t.Helper()
	s.awaitReady()
	old = s.Primary()
	s.must(old.Do("ACL", "SETUSER", watcher, "off"))
	_, _ = old.Do("CLIENT", "KILL", "USER", watcher) // switching a user off ends its connections already
	return old, s.AwaitFailover(old)
}

// Rejoin ends Isolate and waits until the old primary is a replica of the new
// one; what it alone knew is lost then. Sentinels take some ten seconds. On a
// busy machine they see their own clocks jump and do nothing for half a minute, again
// and again: then the old primary is told directly what they would tell it.
func (s *SentinelServers) Rejoin(old *RedisServer) {
	s.t.Helper()
	s.must(old.Do("ACL", "SETUSER", watcher, "on"))
	host, port, _ := net.SplitHostPort(s.other(old).Addr)
	late := time.Now().Add(20 * time.Second)
	s.await("the old primary is a replica", func() bool {
		info, err := old.Do("INFO", "replication")
		if err == nil && strings.Contains(info, "role:master") && time.Now().After(late) {
			_, _ = old.Do("REPLICAOF", host, port)
		}
		return err == nil && strings.Contains(info, "role:slave") && strings.Contains(info, "master_link_status:up")
	})
}
