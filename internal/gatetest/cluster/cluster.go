package cluster

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ssogate/ssogate/internal/demo"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/internal/testserver"
	"github.com/ssogate/ssogate/sso/ssotest"
)

// Grace is streams.lease_grace of every installation: shorter than the default,
// so that a test need not wait ten seconds to see it.
const Grace = 2 * time.Second

// patience bounds what happens by itself: a start, a failover, an answer. It is
// no claim of the product's; a busy machine may take long.
const patience = 40 * time.Second

// Build makes the program as it ships, static, in dir.
func Build(dir string) (binary string, err error) {
	binary = filepath.Join(dir, "ssogate")
	cmd := exec.Command("go", "build", "-o", binary, "github.com/ssogate/ssogate/cmd/ssogate")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build: %w\n%s", err, out)
	}
	return binary, nil
}

// Options of [Start].
type Options struct {
	Binary string // as Build made it
	Nodes  int    // 3 when 0
	Redis  Form   // Single when ""
	Config string // appended to the config file
	// Statements makes PostgreSQL count statements, for Steady.
	Statements bool
}

// Cluster is an installation of several nodes. Its clients speak to one origin;
// which node answers is chosen where the origin's address is dialled, as a load
// balancer would. Methods are safe for concurrent use unless they say otherwise.
type Cluster struct {
	Gateway, App string // origins
	Token        string // of the SCIM connection
	IdP          *ssotest.SAMLIdP
	Site         *Site // the application behind the gateway
	Postgres     *testserver.PostgresServer
	DatabaseURL  string // past all relays
	Redis        Redis
	Nodes        []*Node

	t      testing.TB
	bin    string
	dir    string
	config string
	start  time.Time

	mu   sync.Mutex
	out  map[int]bool // nodes the balancer sends nobody to
	next int
}

// Start installs and starts everything, and waits until all nodes are ready.
func Start(t testing.TB, o Options) *Cluster {
	t.Helper()
	c := Install(t, o)
	c.StartNodes(o.Nodes)
	return c
}

// Install is Start without any node.
func Install(t testing.TB, o Options) *Cluster {
	t.Helper()
	c := &Cluster{
		t: t, bin: o.Binary, dir: t.TempDir(), Token: "ssogate_scim_" + secret.NewToken(),
		out: map[int]bool{}, start: time.Now(),
	}
	// The servers take their time: together they take less.
	var wg sync.WaitGroup
	wg.Go(func() {
		var settings []string
		if o.Statements {
			settings = append(settings, "shared_preload_libraries=pg_stat_statements")
		}
		c.Postgres = testserver.StartPostgres(t, settings...)
		c.DatabaseURL = c.Postgres.Database(t)
	})
	c.Redis = startRedis(t, o.Redis)
	wg.Wait()
	if c.Postgres == nil {
		t.FailNow() // reported where it happened
	}
	if o.Statements {
		c.Postgres.Int(t, c.DatabaseURL, "CREATE EXTENSION pg_stat_statements")
	}
	c.Site = newSite()
	upstream := httptest.NewServer(c.Site)
	t.Cleanup(func() {
		upstream.CloseClientConnections()
		upstream.Close()
	})
	c.install(upstream.URL, o.Config)
	return c
}

// install writes the config that all nodes share. What differs between them comes
// from the environment.
func (c *Cluster) install(upstream, more string) {
	c.t.Helper()
	idp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { c.IdP.ServeHTTP(w, r) }))
	c.t.Cleanup(idp.Close)
	var err error
	if c.IdP, err = ssotest.NewSAMLIdP(ssotest.SAMLOptions{BaseURL: idp.URL, People: demo.People()}); err != nil {
		c.t.Fatal(err)
	}
	// Nothing listens there: Dial sends whoever wants it to a node.
	port := freePort(c.t)
	c.Gateway, c.App = "http://localhost:"+port, "http://127.0.0.1:"+port
	c.config = filepath.Join(c.dir, "ssogate.yaml")
	if out, err := c.Command("init", "--url", c.Gateway, "--app", c.App, "--upstream", upstream, "--out", c.config).CombinedOutput(); err != nil {
		c.t.Fatalf("init: %v\n%s", err, out)
	}
	metadata, err := c.IdP.Metadata()
	if err == nil {
		err = os.WriteFile(filepath.Join(c.dir, "idp.xml"), metadata, 0o600)
	}
	if err != nil {
		c.t.Fatal(err)
	}
	c.AddConfig(fmt.Sprintf(`
log:
  level: "warn"
streams:
  lease_grace: %q
providers:
  - id: "acme"
    protocol: "saml"
    metadata_file: "idp.xml"
    join: "scim"
scim:
  activation: "first_sign_in"
  connections:
    - provider: "acme"
      tokens:
        - name: "boot"
          token: %q
`, Grace.String(), c.Token) + more)
}

// AddConfig appends to the config file. Nodes read it when they start.
func (c *Cluster) AddConfig(text string) {
	c.t.Helper()
	f, err := os.OpenFile(c.config, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := f.WriteString(text); err != nil {
		c.t.Fatal(err)
	}
}

// Command is a command of the program in the installation's directory. Redis and
// database are reached past all relays.
func (c *Cluster) Command(args ...string) *exec.Cmd {
	cmd := exec.Command(c.bin, args...)
	cmd.Dir = c.dir
	cmd.Env = append(os.Environ(), "SSOGATE_DATABASE_URL="+c.DatabaseURL, "SSOGATE_REDIS_URL="+c.Redis.URL(nil))
	return cmd
}

// Config is the path of the config file.
func (c *Cluster) Config() string { return c.config }

// StartNodes starts n more nodes (3 when 0), all at once: on an empty database they
// race for its migrations and keys, as in a first deployment.
func (c *Cluster) StartNodes(n int) {
	c.t.Helper()
	if n == 0 {
		n = 3
	}
	first := len(c.Nodes)
	for range n {
		c.Nodes = append(c.Nodes, c.newNode(len(c.Nodes)))
	}
	for _, x := range c.Nodes[first:] {
		x.launch()
	}
	for _, x := range c.Nodes[first:] {
		x.waitReady()
	}
	c.Register()
}

// Register tells the identity provider about the gateway, as an administrator
// pastes Entity ID and ACS URL. Any node says the same.
func (c *Cluster) Register() {
	c.t.Helper()
	resp, err := (&http.Client{Transport: c.Transport(-1), Timeout: patience}).Get(c.Gateway + "/saml/acme/metadata")
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	xml, err := io.ReadAll(resp.Body)
	if err == nil {
		err = c.IdP.RegisterMetadata(xml)
	}
	if err != nil {
		c.t.Fatal(err)
	}
}

// Attach adds a node that somebody else runs: the balancer and clients know it,
// and it is not started, broken or ended from here.
func (c *Cluster) Attach(public, private string) {
	n := &Node{Index: len(c.Nodes), c: c, run: &process{public: public, private: private}}
	c.Nodes = append(c.Nodes, n)
}

// Dial connects to the origin by way of one node, or of each in turn when node is
// -1, and to everything else as usual.
func (c *Cluster) Dial(ctx context.Context, node int, network, addr string) (net.Conn, error) {
	var d net.Dialer
	if _, port, _ := net.SplitHostPort(addr); "http://127.0.0.1:"+port != c.App {
		return d.DialContext(ctx, network, addr)
	}
	if node < 0 {
		node = c.turn()
	}
	return d.DialContext(ctx, network, c.Nodes[node].Addr())
}

// Transport is Dial for net/http. Connections are not kept, so that each
// request of a walk through a sign-in may meet another node.
func (c *Cluster) Transport(node int) *http.Transport {
	return &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			return c.Dial(ctx, node, network, addr)
		},
	}
}

// turn is the balancer.
func (c *Cluster) turn() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	for range c.Nodes {
		c.next = (c.next + 1) % len(c.Nodes)
		if !c.out[c.next] {
			break
		}
	}
	return c.next
}

// takeOut makes the balancer leave out a node, as a failing health check does.
func (c *Cluster) takeOut(node int, out bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.out[node] = out
}

// Visitor is a browser in front of the cluster; node -1 means all of them.
func (c *Cluster) Visitor(node int) *demo.Visitor {
	return demo.NewVisitor().Through(c.Transport(node))
}

// SignIn signs a person in through the pages of all nodes. Where the walk ends is
// in the error.
func (c *Cluster) SignIn(ctx context.Context, p ssotest.Person) (*demo.Visitor, error) {
	v := c.Visitor(-1)
	_, err := v.SignIn(ctx, c.App+"/who", "acme", p)
	return v, err
}

// MustSignIn is SignIn for a healthy cluster. Redis has 250 ms to answer; on a busy
// machine a 503 is right, and whoever meets one comes back.
func (c *Cluster) MustSignIn(p ssotest.Person) *demo.Visitor {
	c.t.Helper()
	var v *demo.Visitor
	var err error
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		if v, err = c.SignIn(c.t.Context(), p); err == nil {
			return v
		}
	}
	c.t.Fatalf("%s cannot sign in: %v", p.User, err)
	return nil
}

// Cookies is the Cookie header that a visitor's browser would send to an origin.
func Cookies(v interface{ Jar() http.CookieJar }, origin string) string {
	u, err := url.Parse(origin)
	if err != nil {
		return ""
	}
	var out []string
	for _, k := range v.Jar().Cookies(u) {
		out = append(out, k.Name+"="+k.Value)
	}
	return strings.Join(out, "; ")
}

// Create provisions a person over SCIM and answers the id.
func (c *Cluster) Create(p ssotest.Person) (id string) {
	c.t.Helper()
	a := c.SCIM(-1, http.MethodPost, "/Users", fmt.Sprintf(
		`{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":%q,"displayName":%q,"active":true}`, p.User, p.DisplayName))
	var made struct{ ID string }
	if err := json.Unmarshal([]byte(a.Body), &made); a.Status != http.StatusCreated || err != nil {
		c.t.Fatalf("create %s: %+v", p.User, a)
	}
	return made.ID
}

// since is a moment on the history's clock.
func (c *Cluster) since(at time.Time) time.Duration { return at.Sub(c.start) }

func (c *Cluster) until(what string, ok func() bool) {
	c.t.Helper()
	until(c.t, what, ok)
}

// until polls for what happens by itself and fails the test when it does not.
func until(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		if ok() {
			return
		}
	}
	t.Fatalf("not within %v: %s", patience, what)
}

func freePort(t testing.TB) string {
	t.Helper()
	p, err := testserver.Port()
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(p)
}
