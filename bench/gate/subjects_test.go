package gate

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ssogate/ssogate/internal/testserver"
)

// Processors: the proxy has one alone, everything else has the other.
const (
	proxyCore = 0
	otherCore = 1
)

// subject is one proxy in front of the upstream.
type subject struct {
	name    string
	addr    string
	host    string // that clients ask for
	path    string
	cookie  string // "" where nobody signs in
	roots   []int  // its processes
	clients []*client
	note    string // of what is special

	slices []slice
	cpu    []float64 // microseconds per request, by round
	rate   []float64 // requests per second
	dials  int       // connections to the upstream in all measured slices
	count  int       // requests in them
	rss    int64
	paced  latencies
}

func (s *subject) request() []byte {
	r := "GET " + s.path + " HTTP/1.1\r\nHost: " + s.host + "\r\nUser-Agent: bench\r\nAccept: */*\r\n"
	if s.cookie != "" {
		r += "Cookie: " + s.cookie + "\r\n"
	}
	return []byte(r + "\r\n")
}

func (s *subject) connect(n int) {
	for range n {
		s.clients = append(s.clients, &client{addr: s.addr, request: s.request()})
	}
}

// get asks the subject for a path, with its cookie or without.
func (s *subject) get(t testing.TB, path string, cookie bool) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+s.addr+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = s.host
	if cookie {
		req.Header.Set("Cookie", s.cookie)
	}
	res, err := (&http.Transport{DisableKeepAlives: true}).RoundTrip(req)
	if err != nil {
		t.Fatalf("%s: %v", s.name, err)
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("%s: %v", s.name, err)
	}
	return res.StatusCode, string(b)
}

// check: who is signed in gets the page, and the upstream learns who that is; anybody
// else does not get it.
func (s *subject) check(t testing.TB, user string) {
	t.Helper()
	if status, body := s.get(t, s.path, true); status != http.StatusOK || len(body) != pageSize {
		t.Fatalf("%s: %d, %d bytes with the cookie", s.name, status, len(body))
	}
	if s.cookie == "" {
		return
	}
	if status, _ := s.get(t, s.path, false); status == http.StatusOK {
		t.Fatalf("%s: 200 without the cookie", s.name)
	}
	if status, body := s.get(t, "/who", true); status != http.StatusOK || !strings.Contains(body, user) {
		t.Fatalf("%s: the upstream sees %q, not %q (%d)", s.name, body, user, status)
	}
}

func port(t testing.TB) string {
	t.Helper()
	p, err := testserver.Port()
	if err != nil {
		t.Fatal(err)
	}
	return "127.0.0.1:" + strconv.Itoa(p)
}

func program(t testing.TB, name string) string {
	t.Helper()
	bin, err := exec.LookPath(name)
	if err != nil {
		testserver.Missing(t, name)
	}
	return bin
}

func write(t testing.TB, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// await waits until something listens.
func await(t testing.TB, addr string) {
	t.Helper()
	for range 1000 {
		if c, err := net.Dial("tcp", addr); err == nil {
			_ = c.Close()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("nothing listens on %s", addr)
}

const pageSize = 1024

// upstream is nginx with a page of 1 KiB, who was said to ask, and a count of connections.
type upstream struct {
	addr, status string
	http         *http.Client
}

func nginx(t testing.TB, core int, conf string) int {
	t.Helper()
	dir := t.TempDir()
	temp := ""
	for _, k := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temp += fmt.Sprintf("    %s_temp_path %s;\n", k, filepath.Join(dir, k))
	}
	text := fmt.Sprintf("worker_processes 1;\ndaemon off;\nmaster_process on;\nuser root;\npid %s;\nerror_log %s;\nevents { worker_connections 4096; }\nhttp {\n"+
		"    access_log off;\n    keepalive_requests 100000000;\n    keepalive_timeout 600s;\n%s%s}\n", filepath.Join(dir, "pid"), filepath.Join(dir, "error.log"), temp, conf)
	path := write(t, "nginx.conf", text)
	return pinned(t, core, nil, program(t, "nginx"), "-e", filepath.Join(dir, "error.log"), "-c", path).Process.Pid
}

func startUpstream(t testing.TB) *upstream {
	t.Helper()
	u := &upstream{addr: port(t), status: port(t), http: &http.Client{}}
	nginx(t, otherCore, fmt.Sprintf(`    server {
        listen %s;
        location = /who { return 200 "$http_x_forwarded_user $http_x_forwarded_preferred_username $http_x_user\n"; }
        location / { return 200 "%s"; }
    }
    server { listen %s; location / { stub_status; } }
`, u.addr, strings.Repeat("x", pageSize), u.status))
	await(t, u.addr)
	await(t, u.status)
	return u
}

// accepted is how many connections it has taken so far.
func (u *upstream) accepted(t testing.TB) int {
	t.Helper()
	res, err := u.http.Get("http://" + u.status + "/")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b, _ := io.ReadAll(res.Body)
	lines := strings.Split(string(b), "\n")
	if len(lines) < 3 {
		t.Fatalf("status %q", b)
	}
	n, err := strconv.Atoi(strings.Fields(lines[2])[0])
	if err != nil {
		t.Fatal(err)
	}
	return n
}

func bareNginx(t testing.TB, u *upstream) *subject {
	t.Helper()
	s := &subject{name: "nginx", addr: port(t), host: "app.bench.test", path: "/x"}
	s.roots = []int{nginx(t, proxyCore, fmt.Sprintf(`    upstream app { server %s; keepalive 128; keepalive_requests 100000000; keepalive_timeout 600s; }
    server { listen %s; location / { proxy_pass http://app; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host; } }
`, u.addr, s.addr))}
	await(t, s.addr)
	return s
}

func bareHAProxy(t testing.TB, u *upstream) *subject {
	t.Helper()
	s := &subject{name: "HAProxy", addr: port(t), host: "app.bench.test", path: "/x"}
	conf := write(t, "haproxy.cfg", fmt.Sprintf(`global
    nbthread 1
defaults
    mode http
    timeout connect 5s
    timeout client 10m
    timeout server 10m
    timeout http-keep-alive 10m
    http-reuse always
frontend in
    bind %s
    default_backend app
backend app
    server app %s
`, s.addr, u.addr))
	s.roots = []int{pinned(t, proxyCore, nil, program(t, "haproxy"), "-db", "-f", conf).Process.Pid}
	await(t, s.addr)
	return s
}

func goFloor(t testing.TB, u *upstream, pool bool) *subject {
	t.Helper()
	s := &subject{name: "Go floor", addr: port(t), host: "app.bench.test", path: "/x"}
	role := "bare"
	if pool {
		s.name, role = "Go floor+pool", "pool"
	}
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	s.roots = []int{pinned(t, proxyCore, []string{"GATE_BENCH_FLOOR=" + role, "GATE_BENCH_LISTEN=" + s.addr, "GATE_BENCH_UPSTREAM=http://" + u.addr}, self).Process.Pid}
	await(t, s.addr)
	return s
}

func bareCaddy(t testing.TB, u *upstream) *subject {
	t.Helper()
	s := &subject{name: "Caddy", addr: port(t), host: "app.bench.test", path: "/x"}
	conf := write(t, "Caddyfile", fmt.Sprintf("{\n\tadmin off\n\tauto_https off\n}\nhttp://:%s {\n\tbind 127.0.0.1\n\treverse_proxy %s {\n\t\ttransport http {\n\t\t\tkeepalive_idle_conns_per_host 1024\n\t\t}\n\t}\n}\n",
		strings.TrimPrefix(s.addr, "127.0.0.1:"), u.addr))
	s.roots = []int{pinned(t, proxyCore, []string{"HOME=" + t.TempDir()}, program(t, "caddy"), "run", "--adapter", "caddyfile", "--config", conf).Process.Pid}
	await(t, s.addr)
	return s
}
