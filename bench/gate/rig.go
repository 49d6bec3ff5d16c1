package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/ssogate/ssogate/internal/demo"
	"github.com/ssogate/ssogate/internal/testserver"
	"github.com/ssogate/ssogate/sso/ssotest"
)

// Cores: the contestant has one to itself.
const (
	ourCore   = 0
	theirCore = 1
)

// page is what is fetched, and bodySize its length.
const (
	page     = "/1k"
	bodySize = 1 << 10
)

// rig is everything that contestants share.
type rig struct {
	dir      string // of a name that says nothing, readable by servers that drop rights
	app      *upstream
	saml     *ssotest.SAMLIdP
	samlURL  string
	op       *ssotest.OP
	opURL    string
	redisURL string
	running  []*process
	built    map[string]string
	ports    map[string]int
	keep     bool  // the directory
	profiled *gate // with Redis
}

// clientID and clientSecret are of every client of the OpenID provider.
const (
	clientID     = "bench"
	clientSecret = "a secret of the bench, of no value" //nolint:gosec // as it says
)

func newRig(ctx context.Context) (_ *rig, err error) {
	r := &rig{built: map[string]string{}, ports: map[string]int{}}
	defer func() {
		if err != nil {
			r.close()
		}
	}()
	if r.dir, err = os.MkdirTemp("", "bench-"); err != nil {
		return nil, err
	}
	if err := os.Chmod(r.dir, 0o755); err != nil { //nolint:gosec // workers of nginx and Apache run as others
		return nil, err
	}
	if r.app, err = r.startUpstream(); err != nil {
		return nil, fmt.Errorf("upstream: %w", err)
	}
	if err := r.startProviders(ctx); err != nil {
		return nil, err
	}
	return r, nil
}

func (r *rig) close() {
	for i := len(r.running) - 1; i >= 0; i-- {
		r.running[i].stop()
	}
	if r.keep {
		_, _ = fmt.Fprintln(os.Stderr, "left behind:", r.dir)
		return
	}
	_ = os.RemoveAll(r.dir)
}

// port is where the one of that name listens, the same at each call.
func (r *rig) port(name string) (int, error) {
	if p, ok := r.ports[name]; ok {
		return p, nil
	}
	p, err := testserver.Port()
	r.ports[name] = p
	return p, err
}

func (r *rig) addr(name string) (string, error) {
	p, err := r.port(name)
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(p)), err
}

// file writes a file of the rig and answers its path.
func (r *rig) file(name, content string) (string, error) {
	path := filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil { //nolint:gosec // as the rig's directory
		return "", err
	}
	return path, os.WriteFile(path, []byte(content), 0o600)
}

// readable is file for what workers of nginx and Apache read, who run as others.
func (r *rig) readable(name, content string) (string, error) {
	path, err := r.file(name, content)
	if err != nil {
		return "", err
	}
	return path, os.Chmod(path, 0o644) //nolint:gosec // nothing that is worth a secret outside of the bench
}

// start runs a program on a core and waits for its port.
func (r *rig) start(name string, core int, addr string, args ...string) (*process, error) {
	p, err := launch(filepath.Join(r.dir, name+".log"), core, args...)
	if err != nil {
		return nil, err
	}
	r.running = append(r.running, p)
	return p, p.waitOpen(addr)
}

// build compiles a command of this repository as "make build" does.
func (r *rig) build(ctx context.Context, pkg string) (string, error) {
	if bin, ok := r.built[pkg]; ok {
		return bin, nil
	}
	bin := filepath.Join(r.dir, "bin-"+filepath.Base(pkg))
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", bin, "github.com/ssogate/ssogate/"+pkg) //nolint:gosec // our own
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build %s: %w: %s", pkg, err, out)
	}
	r.built[pkg] = bin
	return bin, nil
}

// startProviders runs the identity providers in this process. They have nothing to do
// while something is measured.
func (r *rig) startProviders(ctx context.Context) (err error) {
	serve := func(h func() http.Handler) (string, error) {
		var lc net.ListenConfig
		l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
		if err != nil {
			return "", err
		}
		srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) { h().ServeHTTP(w, q) }), ReadHeaderTimeout: patience}
		go func() { _ = srv.Serve(l) }()
		return "http://" + l.Addr().String(), nil
	}
	if r.samlURL, err = serve(func() http.Handler { return r.saml }); err != nil {
		return err
	}
	if r.opURL, err = serve(func() http.Handler { return r.op }); err != nil {
		return err
	}
	if r.saml, err = ssotest.NewSAMLIdP(ssotest.SAMLOptions{BaseURL: r.samlURL, People: demo.People()}); err != nil {
		return err
	}
	var callbacks []string
	for name, path := range map[string]string{openIDC: "/redirect_uri", oauth2Proxy: "/oauth2/callback", oauth2Nginx: "/oauth2/callback"} {
		p, err := r.port(name)
		if err != nil {
			return err
		}
		callbacks = append(callbacks, fmt.Sprintf("http://localhost:%d%s", p, path))
	}
	r.op, err = ssotest.NewOP(ssotest.OPOptions{
		Issuer: r.opURL, ClientID: clientID, ClientSecret: clientSecret, RedirectURIs: callbacks, People: demo.People(),
	})
	return err
}

// redis starts the one redis-server, at the first call.
func (r *rig) redis() (string, error) {
	if r.redisURL != "" {
		return r.redisURL, nil
	}
	addr, err := r.addr("redis")
	if err != nil {
		return "", err
	}
	bin, err := exec.LookPath("redis-server")
	if err != nil {
		return "", err
	}
	_, port, _ := net.SplitHostPort(addr)
	_, err = r.start("redis", ourCore, addr, bin, "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no", "--maxmemory-policy", "noeviction")
	r.redisURL = "redis://" + addr + "/0"
	return r.redisURL, err
}

// contestant is one way to serve the page.
type contestant struct {
	name   string
	procs  []*process // that are on its core
	addr   string
	host   string // of the Host header; the browser's name of it
	open   bool   // asks nobody to sign in
	user   string // that the upstream must be told
	cookie string

	measured measured
}

// request is what the load sends: the fields that a browser sends, and the cookie.
func (c *contestant) request(path, cookie string) []byte {
	var b strings.Builder
	b.WriteString("GET " + path + " HTTP/1.1\r\nHost: " + c.host + "\r\n")
	b.WriteString("User-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0\r\n" +
		"Accept: */*\r\nAccept-Language: en-GB,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Site: same-origin\r\n")
	if cookie != "" {
		b.WriteString("Cookie: " + cookie + "\r\n")
	}
	b.WriteString("\r\n")
	return []byte(b.String())
}

func (c *contestant) load(rate int) (*load, error) {
	addr, err := netip.ParseAddrPort(c.addr)
	return &load{addr: addr, request: c.request(page, c.cookie), body: bodySize, conns: connections, rate: rate}, err
}

// signIn walks the sign-in as a person does and answers the cookies of the origin.
func signIn(ctx context.Context, origin string) (string, error) {
	var v *demo.Visitor
	for try := 0; ; try++ {
		v = demo.NewVisitor()
		_, err := v.SignIn(ctx, origin+page, "SAML", demo.People()[0])
		if err == nil {
			break
		}
		// Redis has 250 ms to answer; on a busy machine a 503 is right, and whoever meets one
		// comes back.
		refused, ok := errors.AsType[*demo.RefusedError](err)
		if try == 3 || !ok || refused.Page.Status != http.StatusServiceUnavailable {
			return "", err
		}
	}
	u, err := url.Parse(origin + page)
	if err != nil {
		return "", err
	}
	jar, ok := v.Jar().(*cookiejar.Jar)
	if !ok {
		return "", errors.New("no jar")
	}
	var pairs []string
	for _, k := range jar.Cookies(u) {
		pairs = append(pairs, k.Name+"="+k.Value)
	}
	return strings.Join(pairs, "; "), nil
}

// check sees that it serves the page with the cookie and not without, and that the
// upstream learns who asks.
func (c *contestant) check() error {
	code, body, err := c.fetch(page, c.cookie)
	if err != nil || code != http.StatusOK || len(body) != bodySize {
		return fmt.Errorf("%s: signed in: %d, %d bytes: %w", c.name, code, len(body), err)
	}
	if c.open {
		return nil
	}
	for _, bad := range []string{"", spoil(c.cookie)} {
		if code, _, err = c.fetch(page, bad); err != nil || code == http.StatusOK {
			return fmt.Errorf("%s: with cookie %q: %d: %w", c.name, bad, code, err)
		}
	}
	if _, body, err = c.fetch(whoPath, c.cookie); err != nil || !strings.Contains(body, c.user) {
		return fmt.Errorf("%s: the upstream was told %q and not %q: %w", c.name, body, c.user, err)
	}
	return nil
}

// spoil changes the value of each cookie in its middle.
func spoil(cookie string) string {
	var out []string
	for pair := range strings.SplitSeq(cookie, "; ") {
		name, value, _ := strings.Cut(pair, "=")
		b := []byte(value)
		for i := len(b) / 3; i < min(len(b)/3+8, len(b)); i++ {
			b[i] = 'x'
		}
		out = append(out, name+"="+string(b))
	}
	return strings.Join(out, "; ")
}

// fetch makes one request the way the load does.
func (c *contestant) fetch(path, cookie string) (int, string, error) {
	conn, err := net.DialTimeout("tcp", c.addr, patience) //nolint:noctx // bounded
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = conn.Close() }()
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write(c.request(path, cookie)); err != nil {
		return 0, "", err
	}
	res, err := readResponse(conn)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = res.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(res.Body, 1<<20))
	return res.StatusCode, string(b), err
}

// enough reports whether the machine can run the bench at all.
func enough() error {
	if runtime.NumCPU() < 2 {
		return errors.New("the bench needs two cores: one for the contestant, one for the rest")
	}
	return nil
}
