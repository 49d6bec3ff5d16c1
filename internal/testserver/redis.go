package testserver

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
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
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		missing(t, "redis-server")
	}
	s := &RedisServer{t: t, dir: t.TempDir()}
	s.args = append([]string{
		bin, "--bind", "127.0.0.1", "--dir", s.dir, "--daemonize", "no",
		// Syncing is left to the kernel: only a power cut would notice, and a busy
		// disk must not stall a server whose clients give it 250 ms.
		"--save", "", "--appendonly", "yes", "--appendfsync", "no", "--maxmemory-policy", "noeviction",
	}, args...)
	t.Cleanup(func() { s.end(syscall.SIGKILL) })

	// A port found free may be taken before redis-server binds it.
	var last error
	for range 5 {
		s.Addr = freeAddr(t)
		if last = s.start(); last == nil {
			s.URL = "redis://" + s.Addr + "/0"
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
	p, err := startProcess(logFile, append(append([]string(nil), s.args...), "--port", port)...)
	if err != nil {
		return err
	}
	deadline := time.Now().Add(15 * time.Second)
	for time.Now().Before(deadline) {
		if redisAnswers(s.Addr) {
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

// redisAnswers asks PING in RESP by hand, so that this package needs no client.
// -LOADING (reading the append-only file) is not an answer yet.
func redisAnswers(addr string) bool {
	c, err := net.DialTimeout("tcp", addr, time.Second)
	if err != nil {
		return false
	}
	defer func() { _ = c.Close() }()
	_ = c.SetDeadline(time.Now().Add(time.Second))
	if _, err := c.Write([]byte("PING\r\n")); err != nil {
		return false
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	// -NOAUTH is an answer too: the server of a test about passwords.
	return err == nil && (strings.HasPrefix(line, "+PONG") || strings.HasPrefix(line, "-NOAUTH"))
}

// process is a child that cannot outlive the test binary.
type process struct {
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

// startProcess runs args in a process group of its own, with Pdeathsig. The
// kernel sends that signal when the THREAD that forked ends, and Go may end an
// idle thread: so one goroutine keeps its thread for as long as the child runs.
func startProcess(logFile string, args ...string) (*process, error) {
	out, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, fmt.Errorf("log file: %w", err)
	}
	p := &process{cmd: exec.Command(args[0], args[1:]...), done: make(chan struct{})}
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer func() { _ = out.Close() }()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait() // the exit status of a killed server tells nothing
		}
		close(p.done)
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	return p, nil
}

// end signals the child and waits; a child that ignores the signal for 10 s is killed.
func (p *process) end(sig syscall.Signal) {
	_ = p.cmd.Process.Signal(syscall.SIGCONT) // a frozen child handles no SIGTERM
	_ = p.cmd.Process.Signal(sig)
	select {
	case <-p.done:
	case <-time.After(10 * time.Second):
		_ = p.cmd.Process.Kill()
		<-p.done
	}
}

func freeAddr(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("testserver: free port: %v", err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

func missing(t testing.TB, what string) {
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
