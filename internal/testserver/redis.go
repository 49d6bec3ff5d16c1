package testserver

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// RedisServer is a private redis-server on loopback. It keeps its data on disk
// (append-only file), so that Stop and Start behave like a server that was
// restarted, not like one that was flushed. Methods are safe for concurrent use.
type RedisServer struct {
	URL  string // redis://127.0.0.1:port/0; stays the same across Stop and Start
	Addr string // 127.0.0.1:port

	t    testing.TB
	dir  string
	args []string
	// How this package itself connects; nil without TLS and without a user.
	tls   *tls.Config
	login *url.Userinfo

	mu   sync.Mutex
	proc *process
}

// Redis starts a private redis-server for this test and answers its URL.
func Redis(t testing.TB) (url string) {
	t.Helper()
	return StartRedis(t).URL
}

// StartRedis starts a private redis-server for this test. args are added to its
// command line. The server ends with the test; should the test binary be
// killed, the kernel ends it. Without redis-server the test is skipped, and
// fails when CI=true: a missing server must never look like a passed test.
func StartRedis(t testing.TB, args ...string) *RedisServer {
	t.Helper()
	return startRedis(t, nil, nil, args...)
}

// startRedis is StartRedis, with TLS and nothing but TLS when files are given. A
// login is a user that args create.
func startRedis(t testing.TB, files *TLSFiles, login *url.Userinfo, args ...string) *RedisServer {
	t.Helper()
	s := &RedisServer{t: t, dir: t.TempDir(), login: login}
	s.args = append([]string{
		redisBinary(t), "--bind", "127.0.0.1", "--dir", s.dir, "--daemonize", "no",
		// Syncing is left to the kernel: only a power cut would notice, and a busy
		// disk must not stall a server whose clients give it 250 ms.
		"--save", "", "--appendonly", "yes", "--appendfsync", "no", "--maxmemory-policy", "noeviction",
	}, args...)
	u := url.URL{Scheme: "redis", User: login, Path: "/0"}
	if files != nil {
		s.tls, u.Scheme = files.client, "rediss"
		s.args = append(s.args, files.args()...)
	}
	t.Cleanup(func() { s.end(syscall.SIGKILL) })

	// A port found free may be taken before redis-server binds it.
	var last error
	for range 5 {
		s.Addr = freeAddr(t)
		if last = s.start(); last == nil {
			u.Host = s.Addr
			s.URL = u.String()
			return s
		}
	}
	t.Fatalf("testserver: redis-server: %v", last)
	return nil
}

// Start starts the server again after Stop or Kill, with its data.
func (s *RedisServer) Start() {
	s.t.Helper()
	if err := s.start(); err != nil {
		s.t.Fatalf("testserver: redis-server: start again: %v", err)
	}
}

// Stop ends the server in good order: its data is written.
func (s *RedisServer) Stop() { s.end(syscall.SIGTERM) }

// Kill ends the server as a crash would.
func (s *RedisServer) Kill() { s.end(syscall.SIGKILL) }

// Pause freezes the server for d: connections stay open and nothing answers,
// as behind a broken network. It returns at once.
func (s *RedisServer) Pause(d time.Duration) {
	s.signal(syscall.SIGSTOP)
	timer := time.AfterFunc(d, s.Resume)
	s.t.Cleanup(func() { timer.Stop() })
}

// Resume ends a Pause early.
func (s *RedisServer) Resume() { s.signal(syscall.SIGCONT) }

func (s *RedisServer) start() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc != nil {
		return errors.New("already running")
	}
	_, port, err := net.SplitHostPort(s.Addr)
	if err != nil {
		return fmt.Errorf("address: %w", err)
	}
	logFile := filepath.Join(s.dir, "log")
	p, err := startProcess(logFile, append(slices.Clone(s.args), s.listen(port)...)...)
	if err != nil {
		return err
	}
	deadline := time.Now().Add(15 * time.Second)
	for time.Now().Before(deadline) {
		if s.answers() {
			s.proc = p
			return nil
		}
		select {
		case <-p.done:
			out, _ := os.ReadFile(logFile)
			return fmt.Errorf("ended at once: %s", tail(string(out)))
		case <-time.After(10 * time.Millisecond):
		}
	}
	p.end(syscall.SIGKILL)
	return errors.New("does not answer PING within 15 s")
}

func (s *RedisServer) listen(port string) []string {
	if s.tls == nil {
		return []string{"--port", port}
	}
	return []string{"--port", "0", "--tls-port", port}
}

func (s *RedisServer) end(sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil {
		return
	}
	s.proc.end(sig)
	s.proc = nil
}

func (s *RedisServer) signal(sig syscall.Signal) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc != nil {
		_ = s.proc.cmd.Process.Signal(sig)
	}
}

// answers asks PING. -LOADING (reading the append-only file) is not an answer
// yet; -NOAUTH is one: the server of a test about passwords.
func (s *RedisServer) answers() bool {
	pong, err := s.Do("PING")
	return pong == "PONG" || err != nil && strings.HasPrefix(err.Error(), "NOAUTH")
}

func redisBinary(t testing.TB) string {
	t.Helper()
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		Missing(t, "redis-server")
	}
	return bin
}

func freeAddr(t testing.TB) string {
	t.Helper()
	p, err := Port()
	if err != nil {
		t.Fatalf("testserver: free port: %v", err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(p))
}

// Missing ends a test whose real program, what, is not there: skipped on a
// developer's machine, failed under CI=true, because a server that was not there
// must never look like a test that passed. It does not return. The end of a run
// (internal/repo/testrun) knows a skip by its words "is not installed"; every other
// skip is a fault there.
func Missing(t testing.TB, what string) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf("testserver: %s is not installed, and CI=true asks for every real server", what)
	}
	t.Skipf("testserver: %s is not installed", what)
}

func tail(s string) string {
	const most = 2000
	if len(s) > most {
		s = s[len(s)-most:]
	}
	return strings.TrimSpace(s)
}
