package gate

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ssogate/ssogate/internal/demo"
	"github.com/ssogate/ssogate/internal/gatetest/cluster"
	"github.com/ssogate/ssogate/internal/testserver"
	"github.com/ssogate/ssogate/sso/ssotest"
)

// idp is a SAML identity provider that some subjects sign in with.
func newIDP(t testing.TB) *ssotest.SAMLIdP {
	t.Helper()
	var idp *ssotest.SAMLIdP
	ts := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { idp.ServeHTTP(w, r) }))
	t.Cleanup(ts.Close)
	var err error
	if idp, err = ssotest.NewSAMLIdP(ssotest.SAMLOptions{BaseURL: ts.URL, People: demo.People()}); err != nil {
		t.Fatal(err)
	}
	return idp
}

// ssogate starts the program as it ships, signs somebody in, and answers it twice: on a
// route with auth off, and for a member.
func ssogate(t testing.TB, u *upstream, bin, kind string) (off, on *subject) {
	t.Helper()
	addr := port(t)
	_, p, _ := strings.Cut(addr, ":")
	gateway, app, private := "http://localhost:"+p, "http://"+addr, port(t)
	dir := t.TempDir()
	conf := filepath.Join(dir, "ssogate.yaml")
	if out, err := command(dir, bin, "init", "--url", gateway, "--app", app, "--upstream", "http://"+u.addr, "--out", conf); err != nil {
		t.Fatalf("init: %v %s", err, out)
	}
	idp := newIDP(t)
	metadata, err := idp.Metadata()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "idp.xml"), metadata, 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := os.ReadFile(conf) //nolint:gosec // G304: the file that init made
	if err != nil {
		t.Fatal(err)
	}
	upstreamLine := fmt.Sprintf("    upstream: %q\n", "http://"+u.addr)
	text := strings.Replace(string(b), upstreamLine, upstreamLine+"    public: [\"/open/*\"]\n", 1)
	if text == string(b) {
		t.Fatalf("no route in %s", b)
	}
	text += fmt.Sprintf("\nprivate_listen: %q\nprofiling: true\nproviders:\n  - id: \"acme\"\n    protocol: \"saml\"\n    metadata_file: \"idp.xml\"\n    join: \"idp\"\n", private)
	if kind == "forward-auth" {
		text += "trusted_proxies: [\"127.0.0.1/32\"]\nforward_auth:\n  from: [\"127.0.0.1/32\"]\n"
	}
	if kind == "Redis" {
		text += fmt.Sprintf("redis:\n  url: %q\n", testserver.Redis(t))
	}
	if err := os.WriteFile(conf, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	begin := time.Now()
	cmd := pinned(t, proxyCore, nil, bin, "serve", "--config", conf)
	await(t, addr)
	opened, heapURL = time.Since(begin), "http://"+private+"/debug/pprof/heap?gc=1"
	ready(t, "http://"+private+"/readyz")
	register(t, idp, gateway+"/saml/acme/metadata")
	ana := demo.People()[0]
	v := demo.NewVisitor()
	if _, err := v.SignIn(t.Context(), app+"/x", "SAML", ana); err != nil {
		t.Fatal(err)
	}
	cookie := cookies(v, app)
	if *profile != "" && kind == "Redis" {
		profileURL = "http://" + private + "/debug/pprof/profile?seconds=5"
	}
	on = &subject{name: "ssogate, " + kind, addr: addr, host: addr, path: "/x", cookie: cookie, roots: []int{cmd.Process.Pid}}
	off = &subject{name: "ssogate, " + kind + ", auth off", addr: addr, host: addr, path: "/open/x", roots: on.roots, note: "the same process, a public route"}
	on.check(t, ana.User)
	off.check(t, "")
	return off, on
}

func cookies(v *demo.Visitor, origin string) string {
	u, _ := url.Parse(origin)
	var out []string
	for _, c := range v.Jar().Cookies(u) {
		out = append(out, c.Name+"="+c.Value)
	}
	return strings.Join(out, "; ")
}

func ready(t testing.TB, url string) {
	t.Helper()
	for range 1000 {
		res, err := http.Get(url) //nolint:gosec // G107: of the program just started
		if err == nil {
			_ = res.Body.Close()
			if res.StatusCode == http.StatusOK {
				return
			}
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s never says so", url)
}

// register tells the identity provider of a service provider, from that one's metadata.
func register(t testing.TB, idp *ssotest.SAMLIdP, url string) {
	t.Helper()
	res, err := http.Get(url) //nolint:gosec // G107: of the program just started
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	b := make([]byte, 64<<10)
	n := 0
	for {
		m, err := res.Body.Read(b[n:])
		if n += m; err != nil {
			break
		}
	}
	if err := idp.RegisterMetadata(b[:n]); err != nil {
		t.Fatalf("%s: %v", url, err)
	}
}

var (
	profileURL string
	heapURL    string        // asks the last ssogate started to collect its garbage
	opened     time.Duration // of the last ssogate started: from exec to an open port, as polled each 10 ms
)

// keepProfile drives a subject while its process takes a profile of itself.
func keepProfile(t testing.TB, s *subject) {
	t.Helper()
	done := make(chan error, 1)
	go func() {
		_, err := drive(s.clients, 6*time.Second, 0)
		done <- err
	}()
	res, err := http.Get(profileURL) //nolint:gosec // G107: of the program just started
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = res.Body.Close() }()
	f, err := os.Create(*profile)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	if _, err := io.Copy(f, res.Body); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
}

var built string

func build(t testing.TB) string {
	t.Helper()
	if built == "" {
		dir, err := os.MkdirTemp("", "ssogate-bench-")
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { built = ""; _ = os.RemoveAll(dir) })
		if built, err = cluster.Build(dir); err != nil {
			t.Fatal(err)
		}
	}
	return built
}
