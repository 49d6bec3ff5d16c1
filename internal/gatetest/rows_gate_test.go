package gatetest

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"path"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
	"github.com/ssogate/ssogate/config"
)

// upstreamSeen is an application that remembers what reached it.
type upstreamSeen struct {
	mu   sync.Mutex
	got  []*http.Request
	head http.Header // of every answer
}

func (u *upstreamSeen) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.got = append(u.got, r.Clone(r.Context()))
	for k, v := range u.head {
		w.Header()[k] = v
	}
	if r.Header.Get("If-None-Match") != "" {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	_, _ = io.WriteString(w, "the application")
}

// take answers what arrived since the last call.
func (u *upstreamSeen) take() []*http.Request {
	u.mu.Lock()
	defer u.mu.Unlock()
	got := u.got
	u.got = nil
	return got
}

// answers makes every answer carry a header field; none with no values.
func (u *upstreamSeen) answers(name string, values ...string) {
	u.mu.Lock()
	defer u.mu.Unlock()
	u.head = http.Header{}
	if len(values) > 0 {
		u.head[name] = values
	}
}

// gated is a world around an upstreamSeen with /public/* and /open open to all.
func gated(t *testing.T) (*world, *upstreamSeen) {
	t.Helper()
	seen := &upstreamSeen{}
	behind := withApp(t, seen.ServeHTTP)
	w := start(t, behind, func(o *run.DemoOptions) {
		o.Adjust = func(c *config.Config) { c.Routes[0].Public = []string{"/public/*", "/open"} }
	})
	return w, seen
}

// raw sends bytes to the app listener and answers the first response; status 0
// is a connection closed without one.
func (w *world) raw(request string) (status int, header http.Header, body string) {
	w.t.Helper()
	host := strings.TrimPrefix(w.Facts.App, "http://")
	c, err := net.DialTimeout("tcp", strings.Replace(host, "localhost", "127.0.0.1", 1), 5*time.Second)
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, strings.ReplaceAll(request, "HOST", host)); err != nil {
		return 0, nil, ""
	}
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		return 0, nil, ""
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusSwitchingProtocols {
		return resp.StatusCode, resp.Header, "" // its body is the tunnel
	}
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<20)) // a cut body is as good here
	return resp.StatusCode, resp.Header, string(b)
}

// line makes a bare GET of a target, as no HTTP library would send it.
func line(target string, fields ...string) string {
	return "GET " + target + " HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n" + strings.Join(append(fields, ""), "\r\n") + "\r\n"
}

// Rows P01 to P10: what the gate decides about is what the application gets.
func TestGuaranteeOneReadingOfEveryRequest(t *testing.T) {
	w, seen := gated(t)
	v := w.signedIn(w.ana())
	cookie := "Cookie: " + cookieHeader(t, v, w.Facts.App)
	for _, benign := range []string{"/public/x", "/public/a/b?c=../d", "/open", "/open?x"} {
		seen.take()
		if status, _, _ := w.raw(line(benign)); status != http.StatusOK || len(seen.take()) != 1 {
			t.Fatalf("benign %s: %d", benign, status)
		}
	}
	for _, tt := range []struct {
		row, why string
		targets  []string
		signedIn bool
	}{
		{"P01", "the application would resolve the path to another one", []string{
			"/public/../admin", "/public/%2e%2e/admin", "/public/.%2e/admin", "/public/..%2fadmin", "/public/..%5cadmin", "/public/..;/admin",
			"/public/..;x=1/admin", "/public//../admin", "/public%2f..%2fadmin", "/public/%252e%252e/admin", `/public/..\admin`, "//admin", "/./admin",
			"/public/x/../../admin", "/public/%c0%ae%c0%ae/admin", "/public/\u2025/admin", "/public/%u002e%u002e/admin",
		}, false},
		{"P02", "query and fragment are no part of the path", []string{
			"/admin?/public/x", "/admin?x=/public/", "/admin#/public/x", "/admin%23/public/x", "/admin%3f/public/x", "/?/open", "/#/open", "#/public/x",
		}, false},
		{"P03", "a near match is no match", []string{
			"/publicX", "/PUBLIC/x", "/Public/x", "/public%20/x", "/public%00/x", "/open/", "/openX", "/OPEN", "/open%20", "/open;x", "/open/x", "/%6fpen", "/public",
		}, false},
		{"P07", "a monitoring path is a path like any other", []string{
			"/healthz", "/healthz/../admin", "/readyz", "/ping", "/robots.txt", "/favicon.ico", "/.well-known/x",
		}, false},
		{"P06", "the prefix is ssogate's own, under every spelling", []string{
			"/.sso/", "/.sso/x", "/.sso", "/%2esso/x", "//.sso/x", "/.SSO/x", "/.Sso/x", "/.sso/../.sso/x", "/.sso%2fx", "/.sso;/x", "/a/../.sso/x", "/.%73so/x", "/.sso//x", "/%2Esso%2Fx",
		}, true},
	} {
		for _, target := range tt.targets {
			t.Run(tt.row+" "+target, func(t *testing.T) {
				w := w.as(t)
				fields := []string{"Accept: text/html", "Sec-Fetch-Mode: navigate"}
				if tt.signedIn {
					fields = append(fields, cookie)
				}
				seen.take()
				status, h, _ := w.raw(line(target, fields...))
				if got := seen.take(); len(got) > 0 {
					t.Fatalf("reached the application as %s: %s", got[0].RequestURI, tt.why)
				}
				switch {
				case status == http.StatusFound && strings.HasPrefix(h.Get("Location"), w.Facts.Gateway+"/login?id=") && !tt.signedIn:
				case status == http.StatusBadRequest || status == http.StatusNotFound && tt.signedIn:
				default:
					t.Errorf("%d to %q", status, h.Get("Location"))
				}
			})
		}
	}
	t.Run("P01 P02 P03 anything else", func(t *testing.T) { randomTargets(t, w.as(t), seen) })
	t.Run("P04", func(t *testing.T) { hosts(t, w.as(t), seen, cookie) })
	t.Run("P05 P07 headers", func(t *testing.T) { pathHeaders(t, w.as(t), seen, cookie) })
	t.Run("P08 P10", func(t *testing.T) { methods(t, w.as(t), seen, cookie) })
	t.Run("P09", func(t *testing.T) { notAPage(t, w.as(t), seen) })
}

// randomTargets puts targets together from what bypasses are made of. The
// oracle knows nothing of the gate's rules: whatever reaches the application
// must be public to a reader who decodes and resolves as often as he can.
func randomTargets(t *testing.T, w *world, seen *upstreamSeen) {
	pieces := []string{
		"public", "/public/", "admin", "open", "..", ".", "/", "//", "%2f", "%2F", "%2e", "%5c", "\\", ";", ";x", "%3b", "%25", "%252f", "?", "#", "%23", "%00", "%20",
		"X", "%70", "\x0b", "%c0%af", "é", "%e2%80%a5", "&", "=", ":", "@", "*", "+", "~",
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	rnd := rand.New(rand.NewPCG(seed, 0))
	public := regexp.MustCompile(`^/public/|^/open$`)
	passed := 0
	for range 1500 {
		target := []string{"/public/", "/", "/open", ""}[rnd.IntN(4)]
		for range rnd.IntN(7) {
			target += pieces[rnd.IntN(len(pieces))]
		}
		if target == "" {
			continue
		}
		seen.take()
		status, _, _ := w.raw(line(target))
		for _, r := range seen.take() {
			passed++
			if r.RequestURI != target {
				t.Fatalf("%q was forwarded as %q", target, r.RequestURI)
			}
			p, _, _ := strings.Cut(target, "?")
			for range 3 {
				p, _, _ = strings.Cut(p, "#")
				if d, err := url.PathUnescape(p); err == nil {
					p = d
				}
				resolved := path.Clean(regexp.MustCompile(`;[^/]*`).ReplaceAllString(strings.ReplaceAll(p, `\`, "/"), ""))
				if strings.HasSuffix(p, "/") {
					resolved += "/"
				}
				if !public.MatchString(p) || !public.MatchString(resolved) {
					t.Fatalf("%q reached the application, which may read it as %q", target, resolved)
				}
			}
		}
		if status >= 500 {
			t.Fatalf("%q: %d", target, status)
		}
	}
	if passed < 20 {
		t.Errorf("only %d targets passed: this shows nothing", passed)
	}
}

func hosts(t *testing.T, w *world, seen *upstreamSeen, cookie string) {
	ours := strings.TrimPrefix(w.Facts.App, "http://")
	_, port, _ := strings.Cut(ours, ":")
	seen.take()
	if status, _, _ := w.raw(line("/", cookie)); status != http.StatusOK || len(seen.take()) != 1 {
		t.Fatalf("benign Host: %d", status)
	}
	// Upper case is the same host to some readers: the same policy or none.
	for _, same := range []string{"LOCALHOST:" + port, "LocalHost:" + port} {
		if status, _, _ := w.raw("GET /admin HTTP/1.1\r\nHost: " + same + "\r\nConnection: close\r\n\r\n"); status != http.StatusUnauthorized && status != http.StatusBadRequest {
			t.Errorf("Host %s without a session: %d", same, status)
		}
		if len(seen.take()) > 0 {
			t.Errorf("Host %s reached the application without a session", same)
		}
	}
	for _, head := range []string{
		"GET / HTTP/1.1\r\nHost: evil.example", "GET / HTTP/1.1\r\nHost: localhost", "GET / HTTP/1.1\r\nHost: localhost.:" + port, "GET / HTTP/1.1\r\nHost: localhost:0" + port,
		"GET / HTTP/1.1\r\nHost: x@" + ours, "GET / HTTP/1.1\r\nHost: " + ours + "\r\nHost: evil.example", "GET / HTTP/1.1\r\nHost: evil.example\r\nHost: " + ours,
		"GET / HTTP/1.1", "GET / HTTP/1.1\r\nHost:", "GET http://evil.example/ HTTP/1.1\r\nHost: " + ours, "GET http://" + ours + "/public/x HTTP/1.1\r\nHost: evil.example",
		"GET / HTTP/1.1\r\nHost: evil.example\r\nX-Forwarded-Host: " + ours, "GET / HTTP/1.1\r\nHost: " + ours + ",evil.example", "GET / HTTP/1.0",
	} {
		status, h, _ := w.raw(head + "\r\nConnection: close\r\n" + cookie + "\r\n\r\n")
		if got := seen.take(); len(got) > 0 {
			t.Errorf("%q reached the application", head)
		}
		if status != http.StatusMisdirectedRequest && status != http.StatusBadRequest {
			t.Errorf("%q: %d %q", head, status, h.Get("Location"))
		}
	}
}

// pathHeaders: headers by which frameworks learn another path or host, and user
// agents by which careless rules know a probe.
func pathHeaders(t *testing.T, w *world, seen *upstreamSeen, cookie string) {
	fields := []string{
		"X-Original-URL: /public/x", "X-Rewrite-URL: /public/x", "X-Forwarded-Uri: /public/x", "X-Forwarded-Prefix: /public", "X-Forwarded-Path: /open", "X-Original-URI: /open",
		"X_Original_URL: /open", "X-Forwarded-Method: OPTIONS", "X-HTTP-Method-Override: OPTIONS", "Forwarded: for=127.0.0.1;host=evil.example;path=/open",
	}
	for _, f := range fields {
		if status, _, _ := w.raw(line("/admin", f)); status != http.StatusUnauthorized {
			t.Errorf("anonymous with %s: %d", f, status)
		}
		if len(seen.take()) > 0 {
			t.Fatalf("%s opened /admin", f)
		}
		if status, _, _ := w.raw(line("/admin", f, cookie)); status != http.StatusOK {
			t.Errorf("signed in with %s: %d: a header that is ignored refuses nobody", f, status)
		}
		for _, r := range seen.take() {
			name, value, _ := strings.Cut(f, ": ")
			if r.RequestURI != "/admin" || name != "X-HTTP-Method-Override" && strings.Contains(fmt.Sprint(r.Header), value) {
				t.Errorf("%s went through to the application", f)
			}
		}
	}
	for _, ua := range []string{"kube-probe/1.31", "ELB-HealthChecker/2.0", "GoogleHC/1.0", "Prometheus/3.0", "", "ssogate"} {
		for _, method := range []string{"GET", "HEAD", "OPTIONS"} {
			status, _, _ := w.raw(method + " /admin HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\nUser-Agent: " + ua + "\r\n\r\n")
			if len(seen.take()) > 0 || status != http.StatusUnauthorized {
				t.Errorf("%s as %q: %d", method, ua, status)
			}
		}
	}
}

func methods(t *testing.T, w *world, seen *upstreamSeen, cookie string) {
	for _, method := range []string{"PUT", "DELETE", "PATCH", "OPTIONS"} {
		if status, _, _ := w.raw(method + " /doc HTTP/1.1\r\nHost: HOST\r\nConnection: close\r\n" + cookie + "\r\n\r\n"); status != http.StatusOK || len(seen.take()) != 1 {
			t.Fatalf("benign %s: %d", method, status)
		}
	}
	for _, start := range []string{
		"TRACE / HTTP/1.1", "TRACK / HTTP/1.1", "CONNECT / HTTP/1.1", "CONNECT evil.example:443 HTTP/1.1", "get / HTTP/1.1", "Get / HTTP/1.1", "G\x00T / HTTP/1.1", "OPTIONS * HTTP/1.1", "PRI * HTTP/2.0",
		"GET  / HTTP/1.1", "GET /\tHTTP/1.1", "GET / HTTP/0.9", "GET / HTTP/2.0",
	} {
		status, _, _ := w.raw(start + "\r\nHost: HOST\r\nConnection: close\r\n" + cookie + "\r\n\r\n")
		if len(seen.take()) > 0 {
			t.Errorf("%q reached the application", start)
		}
		if status/100 == 2 || status >= 500 && status != http.StatusNotImplemented && status != http.StatusHTTPVersionNotSupported {
			t.Errorf("%q: %d", start, status)
		}
	}
	const ws = "\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
	for _, upgrade := range []string{
		"GET / HTTP/1.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA",
		"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket, h2c" + ws,
		"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c, websocket" + ws,
		"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c" + ws,
		"GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: TLS/1.0",
		"POST / HTTP/1.1\r\nContent-Length: 0\r\nConnection: Upgrade\r\nUpgrade: websocket" + ws,
		"GET / HTTP/1.0\r\nConnection: Upgrade\r\nUpgrade: websocket" + ws,
	} {
		status, _, _ := w.raw(upgrade + "\r\nHost: HOST\r\n" + cookie + "\r\nOrigin: " + w.Facts.App + "\r\n\r\n")
		for _, r := range seen.take() {
			if r.Header.Get("Upgrade") != "" {
				t.Errorf("P10: the application was offered Upgrade: %s", r.Header.Get("Upgrade"))
			}
		}
		if status == http.StatusSwitchingProtocols {
			t.Errorf("P10: tunnelled: %q", upgrade)
		}
	}
}

// notAPage: only a page load may be redirected; everything else is told.
func notAPage(t *testing.T, w *world, seen *upstreamSeen) {
	if a := w.get(nil, w.Facts.App+"/admin"); a.Status != http.StatusFound {
		t.Fatalf("benign page load: %d", a.Status)
	}
	for _, tt := range []struct {
		what, method string
		page         bool
		header       []string
	}{
		{"a form", "POST", true, []string{"Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Mode", "navigate", "Accept", "text/html"}},
		{"an upload form", "POST", true, []string{"Content-Type", "multipart/form-data; boundary=x", "Sec-Fetch-Mode", "navigate", "Accept", "text/html"}},
		{"fetch()", "GET", false, []string{"Sec-Fetch-Mode", "cors", "Accept", "*/*"}},
		{"fetch() that says it wants a page", "GET", false, []string{"Sec-Fetch-Mode", "same-origin", "Accept", "text/html"}},
		{"XMLHttpRequest of old", "GET", false, []string{"X-Requested-With", "XMLHttpRequest", "Accept", "text/html"}},
		{"an API client", "GET", false, []string{"Accept", "application/json"}},
		{"a download that goes on", "GET", false, []string{"Range", "bytes=5-"}},
		{"PUT", "PUT", false, []string{"Accept", "application/json"}},
	} {
		a := w.send(nil, tt.method, w.Facts.App+"/admin", strings.NewReader("q=1"), tt.header...)
		if a.Status != http.StatusUnauthorized || a.Header.Get("Location") != "" || a.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: %d to %q, hint %q", tt.what, a.Status, a.Header.Get("Location"), a.Header.Get("WWW-Authenticate"))
		}
		want := "application/problem+json"
		if tt.page {
			want = "text/html"
		}
		if ct := a.Header.Get("Content-Type"); !strings.HasPrefix(ct, want) {
			t.Errorf("%s is answered in %s", tt.what, ct)
		}
		if tt.page && !strings.Contains(a.Body, "not sent") {
			t.Errorf("%s: the page does not say that nothing was sent", tt.what)
		}
	}
	if len(seen.take()) > 0 {
		t.Error("something reached the application")
	}
}

// plain is a header name as a careless framework may read it.
func plain(name string) string {
	return strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' {
			return r
		}
		return -1
	}, strings.ToLower(name))
}

// Rows H01 to H08.
func TestGuaranteeIdentityIntegrityTheApplicationSeesOnlyOurs(t *testing.T) {
	w, seen := gated(t)
	v := w.signedIn(w.ana())
	cookie := "Cookie: " + cookieHeader(t, v, w.Facts.App)
	seen.take()
	if status, _, _ := w.raw(line("/", cookie)); status != http.StatusOK {
		t.Fatalf("benign: %d", status)
	}
	genuine := seen.take()[0].Header
	if genuine.Get("X-Forwarded-User") == "" || genuine.Get("X-Forwarded-Preferred-Username") != w.ana().User || genuine.Get("X-Forwarded-Groups") == "" {
		t.Fatalf("benign: the application does not learn who asks: %v", genuine)
	}
	ip := genuine.Get("X-Forwarded-For")
	type attack struct {
		row    string
		fields []string
	}
	attacks := []attack{
		{"H02", []string{"Connection: X-Forwarded-User"}},
		{"H02", []string{"Connection: ", "Connection: X-Forwarded-User, X-Forwarded-Groups"}},
		{"H02", []string{"Connection: keep-alive, x-forwarded-user", "Keep-Alive: X-Forwarded-User"}},
		{"H02", []string{"Proxy-Connection: X-Forwarded-User", "Trailer: X-Forwarded-User"}},
		{"H03", []string{"X-Forwarded-For: 1.2.3.4"}},
		{"H03", []string{"X-Forwarded-For: a"}},
		{"H03", []string{"X-Forwarded-For: " + strings.Repeat("1.2.3.4, ", 1000) + "5.6.7.8"}},
		{"H03", []string{"X-Forwarded-For: fe80::1%eth0", "X-Real-IP: 1.2.3.4", "Forwarded: for=1.2.3.4"}},
		{"H04", []string{"X-Forwarded-Host: evil.example", "X-Forwarded-Proto: https", "X-Forwarded-Port: 666", "X-Forwarded-Scheme: https"}},
	}
	for name := range genuine {
		if !strings.HasPrefix(name, "X-Forwarded-") {
			continue
		}
		bare := strings.TrimPrefix(name, "X-Forwarded-")
		for _, sep := range []string{"-", "_", ".", "~", "!", "--", "+", "*", "'", "|", "^", "`", "#", "$", "%", "&"} {
			attacks = append(attacks, attack{"H01", []string{"X" + sep + "Forwarded" + sep + bare + ": admin"}})
		}
		attacks = append(attacks, attack{"H01", []string{name + ": admin", strings.ToLower(name) + ": root", strings.ToUpper(name) + ": admin"}},
			attack{"H01", []string{"x-fOrWaRdEd-" + bare + ": admin", "X-Forwarded-" + bare + ":\tadmin"}})
	}
	for _, a := range attacks {
		t.Run(a.row+" "+strings.Join(a.fields, " ")[:min(60, len(strings.Join(a.fields, " ")))], func(t *testing.T) {
			w := w.as(t)
			seen.take()
			// Not line(): the attack brings its own Connection fields.
			status, _, _ := w.raw("GET / HTTP/1.1\r\nHost: HOST\r\n" + cookie + "\r\n" + strings.Join(a.fields, "\r\n") + "\r\n\r\n")
			got := seen.take()
			if status == http.StatusBadRequest || status == http.StatusRequestHeaderFieldsTooLarge {
				if len(got) > 0 {
					t.Fatal("refused, and forwarded all the same")
				}
				return
			}
			if status != http.StatusOK || len(got) != 1 {
				t.Fatalf("%d, %d requests at the application", status, len(got))
			}
			asReceived(t, got[0].Header, genuine)
		})
	}
	t.Run("H04 redirects and cookies keep the configured origin", func(t *testing.T) {
		a := w.as(t).get(nil, w.Facts.App+"/x", "X-Forwarded-Host", "evil.example", "X-Forwarded-Proto", "gopher", "X-Forwarded-Port", "1")
		if a.Status != http.StatusFound || !strings.HasPrefix(a.Header.Get("Location"), w.Facts.Gateway+"/login?id=") {
			t.Errorf("%d to %s", a.Status, a.Header.Get("Location"))
		}
		if strings.Contains(strings.Join(a.Header.Values("Set-Cookie"), ";"), "evil") {
			t.Errorf("%q", a.Header.Values("Set-Cookie"))
		}
	})
	t.Run("H03 the log keeps the address of the socket", func(t *testing.T) {
		if strings.Contains(w.log.String(), `"address":"1.2.3.4"`) || !strings.Contains(w.log.String(), `"address":"`+ip+`"`) {
			t.Error("an address that the client made up is in the log")
		}
	})
	t.Run("H05", func(t *testing.T) { injected(t, w.as(t), seen, cookie) })
	t.Run("H06", func(t *testing.T) {
		w := w.as(t)
		cleo := w.signedIn(w.person(2)) // has no groups
		cookie := "Cookie: " + cookieHeader(t, cleo, w.Facts.App)
		for _, f := range []string{"X-Other: 1", "X-Forwarded-Groups: admin", "X-Forwarded-Groups:", "X_Forwarded_Groups: admin", "X-Forwarded-Roles: owner"} {
			seen.take()
			if status, _, _ := w.raw(line("/", f, cookie)); status != http.StatusOK {
				t.Fatalf("%s: %d", f, status)
			}
			for name, values := range seen.take()[0].Header {
				if p := plain(name); strings.HasPrefix(p, "xforwardedgroups") || strings.HasPrefix(p, "xforwardedroles") {
					t.Errorf("with %s a member without groups has %s: %q", f, name, values)
				}
			}
		}
	})
	t.Run("H07", func(t *testing.T) { ownCookies(t, w.as(t), seen, cookie) })
	t.Run("H08", func(t *testing.T) {
		w := w.as(t)
		if status, _, _ := w.raw(line("/", cookie, "Authorization: Bearer "+w.Facts.Token)); status != http.StatusOK {
			t.Fatalf("%d", status)
		}
		if strings.Contains(w.log.String(), w.Facts.Token) {
			t.Error("a SCIM token sent to an application is in the log")
		}
	})
}

// asReceived compares what the application saw under any spelling of our
// headers with what it sees of an honest client.
func asReceived(t *testing.T, got, genuine http.Header) {
	t.Helper()
	want := map[string]string{}
	for name := range genuine {
		want[plain(name)] = fmt.Sprint(genuine[name])
	}
	found := map[string]int{}
	for name, values := range got {
		if !strings.HasPrefix(plain(name), "xforwarded") {
			continue
		}
		found[plain(name)]++
		if w, ok := want[plain(name)]; !ok || fmt.Sprint(values) != w {
			t.Errorf("the application sees %s: %q, ours is %s", name, values, w)
		}
	}
	for name := range want {
		if strings.HasPrefix(name, "xforwarded") && found[name] != 1 {
			t.Errorf("%s arrives %d times", name, found[name])
		}
	}
}

// injected: what an identity provider says of a person must not become header
// structure, and must not lock the person out.
func injected(t *testing.T, w *world, seen *upstreamSeen, cookie string) {
	id := w.userID(w.ana())
	for _, name := range []string{"Ana M.", "Ana\r\nX-Evil: 1", "Ana\nX-Evil: 1", "Ana\x00", "Ana\u2028X", strings.Repeat("a", 9<<10), strings.Repeat("é", 3<<10), "=?utf-8?q?x?=", "Ana, admin"} {
		body := fmt.Sprintf(`{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"replace","path":"displayName","value":%s}]}`, quote(name))
		if a := w.scim(http.MethodPatch, "/Users/"+id, body); a.Status/100 != 2 && a.Status != http.StatusBadRequest {
			t.Errorf("SCIM says %d to the name %.20q: %s", a.Status, name, a.Body)
		}
		seen.take()
		status, _, _ := w.raw(line("/", cookie))
		got := seen.take()
		if status != http.StatusOK || len(got) != 1 {
			t.Fatalf("with the name %.20q: %d", name, status)
		}
		if got[0].Header.Get("X-Evil") != "" {
			t.Errorf("the name %.20q became a header of its own", name)
		}
		if v := got[0].Header.Get("X-Forwarded-Name"); strings.ContainsAny(v, "\r\n\x00") || len(v) > 4<<10 {
			t.Errorf("the name %.20q arrives as %.60q", name, v)
		}
	}
	// A comma separates groups; a group's name must not make two of one.
	body := fmt.Sprintf(`{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"x,admin","members":[{"value":%q}]}`, id)
	if a := w.scim(http.MethodPost, "/Groups", body); a.Status != http.StatusCreated && a.Status != http.StatusBadRequest {
		t.Errorf("group: %d %s", a.Status, a.Body)
	}
	seen.take()
	if status, _, _ := w.raw(line("/", cookie)); status != http.StatusOK {
		t.Fatalf("with a group with a comma: %d", status)
	}
	for _, g := range strings.Split(seen.take()[0].Header.Get("X-Forwarded-Groups"), ",") {
		if strings.TrimSpace(g) == "admin" {
			t.Error("the group \"x,admin\" makes its members admins")
		}
	}
}

func ownCookies(t *testing.T, w *world, seen *upstreamSeen, cookie string) {
	ours := regexp.MustCompile(`(?i)ssogate`)
	for _, fields := range [][]string{
		{cookie + "; theirs=1"},
		{"Cookie: theirs=1; before=2", cookie},
		{cookie, "Cookie: theirs=1"},
		{cookie + "; theirs=1; SSOGATE-app-session=x; __Host-ssogate-app-session=y; ssogate-gateway-session=z"},
	} {
		seen.take()
		status, _, _ := w.raw(line("/", fields...))
		got := seen.take()
		if status == http.StatusUnauthorized && len(got) == 0 {
			continue // other spellings of our name may be refused as a whole
		}
		if status != http.StatusOK || len(got) != 1 {
			t.Fatalf("%q: %d", fields, status)
		}
		all := strings.Join(got[0].Header["Cookie"], "; ")
		if ours.MatchString(all) {
			t.Errorf("the application sees our cookie: %s", all)
		}
		if !strings.Contains(all, "theirs=1") {
			t.Errorf("the application's own cookie is lost: %q", all)
		}
	}
	// The application cannot set, change or clear ours.
	for _, set := range []string{"ssogate-app-session=evil; Path=/", "SSOGATE-App-Session=evil", "__Host-ssogate-app-session=evil; Secure; Path=/", "ssogate-app-binding=; Max-Age=0", "ssogate-gateway-session =evil", "\tssogate-app-session=evil"} {
		seen.answers("Set-Cookie", set, "theirs=1; Path=/")
		_, h, _ := w.raw(line("/", cookie))
		got := strings.Join(h.Values("Set-Cookie"), "\n")
		if ours.MatchString(got) || !strings.Contains(got, "theirs=1") {
			t.Errorf("the application's Set-Cookie %q arrives as %q", set, got)
		}
	}
	seen.answers("Set-Cookie")
}
