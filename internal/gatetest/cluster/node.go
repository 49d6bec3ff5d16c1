package cluster

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/ssogate/ssogate/internal/testserver"
)

// Node is one place in the cluster: the process that serves there now, and its
// own ways to SQL and Redis. Methods are safe for concurrent use.
type Node struct {
	Index int
	SQL   *testserver.Relay
	Redis []*testserver.Relay // one for each server of the form

	c *Cluster

	mu      sync.Mutex
	run     *process
	started int // processes so far
}

func (c *Cluster) newNode(i int) *Node {
	c.t.Helper()
	u, err := url.Parse(c.DatabaseURL)
	if err != nil {
		c.t.Fatal(err)
	}
	n := &Node{Index: i, c: c, SQL: testserver.StartRelay(c.t, u.Host)}
	n.Redis = c.Redis.relays(c.t)
	return n
}

// process is one run of `ssogate serve`.
type process struct {
	public, private string // addresses
	logFile         string
	cmd             *exec.Cmd
	done            chan struct{} // closed when it has ended
}

// Addr is where the node's public listener is now.
func (n *Node) Addr() string { return n.current().public }

func (n *Node) current() *process {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.run
}

// environment is what this node has for itself.
func (n *Node) environment(p *process) []string {
	u, err := url.Parse(n.c.DatabaseURL)
	if err != nil {
		n.c.t.Fatal(err)
	}
	u.Host = n.SQL.Addr
	return append(os.Environ(), "SSOGATE_LISTEN="+p.public, "SSOGATE_PRIVATE_LISTEN="+p.private,
		"SSOGATE_DATABASE_URL="+u.String(), "SSOGATE_REDIS_URL="+n.c.Redis.URL(n.Redis))
}

// launch starts a new process on ports of its own. The old one, if it still runs,
// is on its own from here on.
func (n *Node) launch() {
	n.c.t.Helper()
	p := &process{public: "127.0.0.1:" + freePort(n.c.t), private: "127.0.0.1:" + freePort(n.c.t)}
	n.mu.Lock()
	n.started++
	p.logFile = filepath.Join(n.c.dir, fmt.Sprintf("node%d-%d.log", n.Index, n.started))
	n.mu.Unlock()
	p.cmd = exec.Command(n.c.bin, "serve", "--config", n.c.config)
	p.cmd.Dir, p.cmd.Env = n.c.dir, n.environment(p)
	var err error
	if p.done, err = runChild(p.cmd, p.logFile); err != nil {
		n.c.t.Fatal(err)
	}
	n.c.t.Cleanup(func() {
		p.kill()
		if n.c.t.Failed() {
			n.c.t.Logf("%s:\n%s", filepath.Base(p.logFile), p.log(3000))
		}
	})
	n.mu.Lock()
	n.run = p
	n.mu.Unlock()
}

// waitReady waits until the process says that it is ready and holds its lease.
func (n *Node) waitReady() {
	n.c.t.Helper()
	p := n.current()
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		select {
		case <-p.done:
			n.c.t.Fatalf("node %d ended instead of starting:\n%s", n.Index, p.log(4000))
		default:
		}
		code, body := p.get("/readyz")
		if code == http.StatusOK && p.metric("lease_up") == 1 {
			return
		}
		if time.Now().After(end) {
			n.c.t.Fatalf("node %d is not ready within %v: %d %s\n%s", n.Index, patience, code, body, p.log(4000))
		}
	}
}

// Ready reports whether the node would be sent requests.
func (n *Node) Ready() bool { return n.current().ready() }

// Leased reports whether the node may use its cache.
func (n *Node) Leased() bool { return n.current().metric("lease_up") == 1 }

// Metric reads one value from the private listener; -1 when it is not there.
func (n *Node) Metric(name string) float64 { return n.current().metric(name) }

// Log is the end of the current process's log.
func (n *Node) Log(most int) string { return n.current().log(most) }

// Alive reports whether the process has not ended.
func (n *Node) Alive() bool {
	select {
	case <-n.current().done:
		return false
	default:
		return true
	}
}

var private = &http.Client{Timeout: 2 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}

func (p *process) get(path string) (int, []byte) {
	resp, err := private.Get("http://" + p.private + path)
	if err != nil {
		return 0, nil
	}
	defer func() { _ = resp.Body.Close() }()
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	return resp.StatusCode, b
}

func (p *process) ready() bool {
	code, _ := p.get("/readyz")
	return code == http.StatusOK
}

func (p *process) metric(name string) float64 {
	_, b := p.get("/metrics")
	for line := range strings.Lines(string(b)) {
		if v, ok := strings.CutPrefix(line, name+" "); ok {
			f, err := strconv.ParseFloat(strings.TrimSpace(v), 64)
			if err != nil {
				return -1
			}
			return f
		}
	}
	return -1
}

func (p *process) log(most int) string {
	b, err := os.ReadFile(p.logFile)
	if err != nil {
		return err.Error()
	}
	return string(bytes.TrimSpace(b[max(0, len(b)-most):]))
}

func (p *process) signal(sig os.Signal) { _ = p.cmd.Process.Signal(sig) }

// kill ends the process as a crash does and waits for it.
func (p *process) kill() {
	p.signal(syscall.SIGKILL) // also a frozen one
	<-p.done
}

// CutRedis and the like break the node's own ways and nobody else's.
func (n *Node) CutRedis() { n.redis((*testserver.Relay).Cut) }

// HoldRedis leaves connections open that carry nothing.
func (n *Node) HoldRedis() { n.redis((*testserver.Relay).Hold) }

// SlowRedis delays each answer.
func (n *Node) SlowRedis(d time.Duration) { n.redis(func(r *testserver.Relay) { r.Delay(d) }) }

// SwapRedis exchanges answers between the node's connections to one server.
// Sentinels keep no records; what they say is left alone.
func (n *Node) SwapRedis() {
	for _, r := range n.Redis[:len(n.c.Redis.servers())] {
		r.SwapReplies(4)
	}
}

// RestoreRedis ends all of these.
func (n *Node) RestoreRedis() { n.redis((*testserver.Relay).Restore) }

func (n *Node) redis(f func(*testserver.Relay)) {
	for _, r := range n.Redis {
		f(r)
	}
}

// runChild starts a child that cannot outlive the test binary. The kernel sends
// Pdeathsig when the THREAD that forked ends, so one goroutine keeps its thread.
func runChild(cmd *exec.Cmd, logFile string) (done chan struct{}, err error) {
	out, err := os.OpenFile(logFile, os.O_CREATE|os.O_WRONLY|os.O_TRUNC, 0o600)
	if err != nil {
		return nil, err
	}
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
	done = make(chan struct{})
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		defer func() { _ = out.Close() }()
		err := cmd.Start()
		started <- err
		if err == nil {
			_ = cmd.Wait() // whoever cares looks at ProcessState
		}
		close(done)
	}()
	return done, <-started
}
