package gatetest

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/internal/demo"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/internal/testserver"
	"github.com/ssogate/ssogate/sso/ssotest"
)

// The README's TLS front is deploy/nginx.conf. It is run here by a real nginx,
// with only names, ports and files replaced, and the whole sign-in goes through it.
func TestSignInThroughTheDocumentedTLSFront(t *testing.T) {
	nginx, err := exec.LookPath("nginx")
	if err != nil {
		testserver.Missing(t, "nginx")
	}
	dir := t.TempDir()
	pool := selfSigned(t, dir, "sso.example.test", "app.example.test")
	port := freePort(t)
	gateway, app := "https://sso.example.test:"+port, "https://app.example.test:"+port
	g := startBehind(t, gateway, app)
	runNginx(t, nginx, dir, "nginx.conf", port, g.addr)

	rt := towards(t, pool, port)
	id := g.create(rt, g.ana.User)
	v := demo.NewVisitor().Through(rt)
	page, err := v.SignIn(t.Context(), app+"/?through=nginx", "SAML", g.ana)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(page.Body, g.ana.User) || page.URL.String() != app+"/?through=nginx" {
		t.Fatalf("arrived at %s", page.URL)
	}
	cookies := cookieHeader(t, v, app)
	if !strings.Contains(cookies, "__Host-ssogate-app-session=") {
		t.Fatalf("K04: over TLS the cookie must carry the __Host- prefix: %.40s", cookies)
	}

	ws, _, err := websocket.Dial(t.Context(), strings.Replace(app, "https", "wss", 1)+"/ws", &websocket.DialOptions{
		HTTPClient: &http.Client{Transport: rt}, HTTPHeader: http.Header{"Cookie": {cookies}, "Origin": {app}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ws.CloseNow() }()
	if _, _, err := ws.Read(t.Context()); err != nil {
		t.Fatal(err)
	}
	g.call(rt, http.MethodPatch, "/Users/"+id, activeBody(false), http.StatusOK)
	if err := closedWith(ws, websocket.StatusPolicyViolation); err != nil {
		t.Error(err)
	}

	// H03: the client's own claim is in the list, and not believed.
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, app+"/claimed", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("X-Forwarded-For", "203.0.113.9")
	resp, err := rt.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	for _, line := range strings.Split(g.log.String(), "\n") {
		if strings.Contains(line, `"/claimed"`) && !strings.Contains(line, `"address":"127.0.0.2"`) {
			t.Errorf("address in the access record: %s", line)
		}
	}
}

// towards is a client of everything at example.test, which a front serves on a port.
func towards(t *testing.T, pool *x509.CertPool, port string) *http.Transport {
	rt := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if strings.Contains(addr, ".example.test:") {
				addr = "127.0.0.1:" + port
			}
			// The member comes from another address than the front, which alone is trusted.
			return (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).DialContext(ctx, network, addr)
		},
	}
	t.Cleanup(rt.CloseIdleConnections)
	return rt
}

// behind is a gateway without the demo around it, as it stands behind a front.
type behind struct {
	t     *testing.T
	addr  string
	scim  string
	token string
	ana   ssotest.Person
	log   *logBuffer
	app   string                      // host:port of the application
	seen  atomic.Pointer[http.Header] // of the last request to it
}

// startBehind starts the product. change alters its config before it is checked.
func startBehind(t *testing.T, gateway, app string, change ...func(*config.Config)) *behind {
	t.Helper()
	b := &behind{t: t, token: "ssogate_scim_" + secret.NewToken(), ana: demo.People()[0], log: &logBuffer{}}
	b.scim = gateway + "/api/0/organizations/acme/scim/v2"
	var idp *ssotest.SAMLIdP
	idpServer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { idp.ServeHTTP(w, r) }))
	t.Cleanup(idpServer.Close)
	idp, err := ssotest.NewSAMLIdP(ssotest.SAMLOptions{BaseURL: idpServer.URL, People: demo.People()})
	if err != nil {
		t.Fatal(err)
	}
	application := demo.App()
	upstream := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := r.Header.Clone()
		b.seen.Store(&h)
		application.ServeHTTP(w, r)
	}))
	t.Cleanup(upstream.Close)
	b.app = strings.TrimPrefix(upstream.URL, "http://")
	public, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	private, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b.addr = public.Addr().String()

	c := config.Default()
	c.URL, c.Listen, c.PrivateListen = gateway, b.addr, private.Addr().String()
	c.Organization = config.Organization{Slug: "acme", Name: "Acme"}
	c.RequireSSO = "on"
	keys := make([]byte, 96)
	_, _ = rand.Read(keys)
	c.Secrets.CookieKey, c.Secrets.SealKey = base64.StdEncoding.EncodeToString(keys[:64]), base64.StdEncoding.EncodeToString(keys[64:])
	c.Database.URL = "sqlite:" + filepath.Join(t.TempDir(), "ssogate.db")
	c.TrustedProxies = []string{"127.0.0.1/32"}
	c.Providers = []config.Provider{{ID: "okta", Name: "Acme SAML", Protocol: config.ProtocolSAML, MetadataURL: idpServer.URL + "/metadata"}}
	c.SCIM.Activation = "first_sign_in"
	c.SCIM.Connections = []config.SCIMConnection{{Provider: "okta", Tokens: []config.SCIMToken{{Name: "test", Token: b.token}}}}
	c.Routes = []config.Route{{Name: "app", Origins: []string{app}, Upstream: upstream.URL}}
	c.Outbound.Allow = []string{strings.TrimPrefix(idpServer.URL, "http://")}
	for _, alter := range change {
		alter(c)
	}
	c.ApplyDefaults()
	if faults := c.Validate(); len(faults) > 0 {
		t.Fatal(faults)
	}
	s, err := run.New(t.Context(), run.Options{
		Config: c, Log: slog.New(slog.NewJSONHandler(b.log, nil)), Listeners: []net.Listener{public}, PrivateListener: private,
	})
	if err != nil {
		t.Fatal(err)
	}
	xml, err := s.SAMLMetadata("okta")
	if err != nil {
		t.Fatal(err)
	}
	if err := idp.RegisterMetadata(xml); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Serve(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		if t.Failed() {
			t.Logf("log:\n%s", b.log.tail(4000))
		}
	})
	return b
}

// call is one SCIM request through the front, as an identity provider on the
// network would make it.
func (b *behind) call(rt http.RoundTripper, method, path, body string, want int) string {
	b.t.Helper()
	req, err := http.NewRequestWithContext(b.t.Context(), method, b.scim+path, strings.NewReader(body))
	if err != nil {
		b.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+b.token)
	req.Header.Set("Content-Type", "application/scim+json")
	resp, err := rt.RoundTrip(req)
	if err != nil {
		b.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil || resp.StatusCode != want {
		b.t.Fatalf("%s %s: %d %s %v", method, path, resp.StatusCode, answer, err)
	}
	return string(answer)
}

func (b *behind) create(rt http.RoundTripper, user string) (id string) {
	b.t.Helper()
	var made struct{ ID string }
	answer := b.call(rt, http.MethodPost, "/Users", fmt.Sprintf(`{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":%q,"active":true}`, user), http.StatusCreated)
	if err := json.Unmarshal([]byte(answer), &made); err != nil || made.ID == "" {
		b.t.Fatalf("create: %s", answer)
	}
	return made.ID
}

func freePort(t *testing.T) string {
	t.Helper()
	p, err := testserver.Port()
	if err != nil {
		t.Fatal(err)
	}
	return strconv.Itoa(p)
}

// selfSigned writes a certificate for the names and answers the pool that trusts it.
func selfSigned(t *testing.T, dir string, names ...string) *x509.CertPool {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: names[0]}, DNSNames: names, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]*pem.Block{"ssogate.crt": {Type: "CERTIFICATE", Bytes: der}, "ssogate.key": {Type: "PRIVATE KEY", Bytes: pkcs}} {
		if err := os.WriteFile(filepath.Join(dir, name), pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	pool := x509.NewCertPool()
	pool.AddCert(cert)
	return pool
}

// runNginx runs a documented config until the test ends. more are further texts of it
// to replace, in pairs.
func runNginx(t *testing.T, bin, dir, file, port, upstream string, more ...string) {
	t.Helper()
	raw, err := os.ReadFile("../../deploy/" + file)
	if err != nil {
		t.Fatal(err)
	}
	conf := strings.NewReplacer(append(more,
		"127.0.0.1:8081", upstream, "listen 443 ssl", "listen 127.0.0.1:"+port+" ssl",
		"listen 80;", "listen 127.0.0.1:"+freePort(t)+";",
		"sso.example.com", "sso.example.test", "app.example.com", "app.example.test",
		"/etc/ssl/ssogate.crt", filepath.Join(dir, "ssogate.crt"), "/etc/ssl/ssogate.key", filepath.Join(dir, "ssogate.key"),
	)...).Replace(string(raw))
	temp := ""
	for _, k := range []string{"client_body", "proxy", "fastcgi", "uwsgi", "scgi"} {
		temp += fmt.Sprintf("    %s_temp_path %s;\n", k, filepath.Join(dir, k))
	}
	main := fmt.Sprintf("daemon off;\nmaster_process off;\npid %s;\nerror_log %s;\nevents {}\nhttp {\n    access_log off;\n%s%s}\n",
		filepath.Join(dir, "pid"), filepath.Join(dir, "error.log"), temp, conf)
	path := filepath.Join(dir, "nginx.conf")
	if err := os.WriteFile(path, []byte(main), 0o600); err != nil {
		t.Fatal(err)
	}
	runFront(t, port, bin, "-e", filepath.Join(dir, "error.log"), "-c", path)
}

// runFront runs a proxy until the test ends, and waits until it listens.
func runFront(t *testing.T, port, bin string, args ...string) {
	t.Helper()
	log := &logBuffer{}
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, bin, args...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	if err := cmd.Start(); err != nil {
		cancel()
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel(); _ = cmd.Wait() })
	for range 1000 {
		c, err := net.Dial("tcp", "127.0.0.1:"+port)
		if err == nil {
			_ = c.Close()
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Fatalf("%s does not listen: %s", bin, log.tail(4000))
}
