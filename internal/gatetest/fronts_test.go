package gatetest

import (
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/internal/demo"
	"github.com/ssogate/ssogate/internal/testserver"
)

// mayAsk lists the machine of the test as a front.
func mayAsk(c *config.Config) { c.ForwardAuth.From = []string{"127.0.0.1/32"} }

// The documented configs are run by the real proxies, with only names, ports and files
// replaced.
func TestForwardAuthThroughNginx(t *testing.T) {
	forwardAuth(t, "nginx", func(t *testing.T, bin, dir, port string, g *behind) {
		runNginx(t, bin, dir, "nginx-forward-auth.conf", port, g.addr, "127.0.0.1:3000", g.app)
	})
}

func TestForwardAuthThroughCaddy(t *testing.T) {
	forwardAuth(t, "caddy", func(t *testing.T, bin, dir, port string, g *behind) {
		raw, err := os.ReadFile("../../deploy/Caddyfile.forward-auth")
		if err != nil {
			t.Fatal(err)
		}
		cert := "tls " + filepath.Join(dir, "ssogate.crt") + " " + filepath.Join(dir, "ssogate.key") + "\n"
		conf := "{\n\tadmin off\n\tauto_https off\n\tstorage file_system " + filepath.Join(dir, "caddy") + "\n}\n" + strings.NewReplacer(
			"sso.example.com {", "https://sso.example.test:"+port+" {\n"+cert, "app.example.com {", "https://app.example.test:"+port+" {\n"+cert,
			"127.0.0.1:8081", g.addr, "127.0.0.1:3000", g.app,
		).Replace(string(raw))
		path := filepath.Join(dir, "Caddyfile")
		if err := os.WriteFile(path, []byte(conf), 0o600); err != nil {
			t.Fatal(err)
		}
		runFront(t, port, bin, "run", "--adapter", "caddyfile", "--config", path)
	})
}

// HAProxy only ends TLS: ssogate is the proxy, and all of it works.
func TestSignInThroughHAProxy(t *testing.T) {
	behindFront(t, "haproxy", false, func(t *testing.T, bin, dir, port string, g *behind) {
		raw, err := os.ReadFile("../../deploy/haproxy.cfg")
		if err != nil {
			t.Fatal(err)
		}
		var both []byte
		for _, f := range []string{"ssogate.crt", "ssogate.key"} {
			b, err := os.ReadFile(filepath.Join(dir, f))
			if err != nil {
				t.Fatal(err)
			}
			both = append(both, b...)
		}
		chain := filepath.Join(dir, "ssogate.pem")
		conf := strings.NewReplacer("bind :443", "bind 127.0.0.1:"+port, "/etc/ssl/ssogate.pem", chain, "127.0.0.1:8081", g.addr).Replace(string(raw))
		path := filepath.Join(dir, "haproxy.cfg")
		for name, b := range map[string][]byte{chain: both, path: []byte(conf)} {
			if err := os.WriteFile(name, b, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		runFront(t, port, bin, "-db", "-f", path)
	})
}

func forwardAuth(t *testing.T, program string, start func(t *testing.T, bin, dir, port string, g *behind)) {
	t.Helper()
	behindFront(t, program, true, start)
}

// behindFront signs in through a front, opens pages and a WebSocket, and is cut off.
func behindFront(t *testing.T, program string, asks bool, start func(t *testing.T, bin, dir, port string, g *behind)) {
	t.Helper()
	bin, err := exec.LookPath(program)
	if err != nil {
		testserver.Missing(t, program)
	}
	dir := t.TempDir()
	pool := selfSigned(t, dir, "sso.example.test", "app.example.test")
	port := freePort(t)
	gateway, app := "https://sso.example.test:"+port, "https://app.example.test:"+port
	g := startBehind(t, gateway, app, mayAsk)
	start(t, bin, dir, port, g)
	rt := towards(t, pool, port)
	id := g.create(rt, g.ana.User)

	v := demo.NewVisitor().Through(rt)
	page, err := v.SignIn(t.Context(), app+"/?through="+program, "SAML", g.ana)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(page.Body, g.ana.User) || page.URL.String() != app+"/?through="+program {
		t.Fatalf("arrived at %s: %.300s", page.URL, page.Body)
	}
	cookies := cookieHeader(t, v, app)
	forged := []string{"X-Forwarded-User", "X-Forwarded-Groups", "X-Forwarded-Email"}
	ask := func(path string, header ...string) *http.Response {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, app+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; i < len(header); i += 2 {
			req.Header.Add(header[i], header[i+1])
		}
		res, err := rt.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
		return res
	}

	// H01, H06, H07: the application sees our values, and its own cookies.
	var sent []string
	for _, name := range forged {
		sent = append(sent, name, "admin")
	}
	if res := ask("/whoami", append(sent, "Cookie", cookies+"; app=1")...); res.StatusCode != http.StatusOK {
		t.Fatalf("signed in: %s", res.Status)
	}
	seen := *g.seen.Load()
	for _, name := range forged {
		for _, val := range seen[name] {
			if val == "admin" {
				t.Errorf("the application sees the client's own %s", name)
			}
		}
	}
	if seen.Get("X-Forwarded-User") != id {
		t.Errorf("X-Forwarded-User is %q, not the member's id %q", seen["X-Forwarded-User"], id)
	}
	if c := strings.Join(seen["Cookie"], "; "); strings.Contains(c, "ssogate") || !strings.Contains(c, "app=1") {
		t.Errorf("cookies that the application sees: %q", c)
	}
	refusedWithoutSession(t, g, asks, ask)

	ws, res, err := websocket.Dial(t.Context(), strings.Replace(app, "https", "wss", 1)+"/ws", &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: rt}, HTTPHeader: http.Header{"Cookie": {cookies}, "Origin": {"https://evil.example"}},
	})
	if err == nil || res == nil || res.StatusCode != http.StatusForbidden {
		t.Errorf("W01: a WebSocket of another site: %v, %v", res, err)
	}
	if ws, _, err = websocket.Dial(t.Context(), strings.Replace(app, "https", "wss", 1)+"/ws", &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: rt}, HTTPHeader: http.Header{"Cookie": {cookies}, "Origin": {app}},
	}); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.CloseNow() }()

	g.call(rt, http.MethodPatch, "/Users/"+id, activeBody(false), http.StatusOK)
	if res := ask("/whoami", "Cookie", cookies, "Accept", "application/json"); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("after the cut-off: %s", res.Status)
	}
	if !asks { // C12: a verdict that was given is not recalled, so only here
		if err := closedWith(ws, websocket.StatusPolicyViolation); err != nil {
			t.Error(err)
		}
	}
}

// refusedWithoutSession: without a session nothing reaches the application, page loads
// are led to the sign-in, and others are told 401.
func refusedWithoutSession(t *testing.T, g *behind, asks bool, ask func(path string, header ...string) *http.Response) {
	t.Helper()
	g.seen.Store(nil)
	for _, path := range []string{"/whoami", "/whoami?/public", "/a/%2e%2e/whoami", "/%70ublic"} {
		res := ask(path, "Sec-Fetch-Mode", "navigate", "Accept", "text/html")
		if c := res.StatusCode; c != http.StatusFound && c != http.StatusBadRequest && c != http.StatusForbidden {
			t.Errorf("a page load of %s without a session: %s", path, res.Status)
		}
		if res.StatusCode == http.StatusFound && (!strings.Contains(res.Header.Get("Location"), "/login?id=") || len(res.Cookies()) == 0) {
			t.Errorf("%s: led to %q with cookies %v", path, res.Header.Get("Location"), res.Cookies())
		}
	}
	if res := ask("/whoami", "Accept", "application/json"); res.StatusCode != http.StatusUnauthorized {
		t.Errorf("a script without a session: %s", res.Status)
	}
	// Nobody asks for a verdict but the front itself.
	for _, name := range []string{"nginx", "caddy", "envoy/whoami"} {
		res := ask("/.sso/auth/"+name, "X-Original-Method", "GET", "X-Original-URL", "https://app.example.test/", "X-Forwarded-Method", "GET", "X-Forwarded-Uri", "/")
		if asks && res.StatusCode != http.StatusNotFound || res.StatusCode == http.StatusOK {
			t.Errorf("/.sso/auth/%s from outside: %s", name, res.Status)
		}
	}
	if seen := g.seen.Load(); seen != nil {
		t.Errorf("a request without a session reached the application: %v", *seen)
	}
}
