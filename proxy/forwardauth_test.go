package proxy

import (
	"net/http"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/ssogate/ssogate/session"
)

func asking(c *rigConfig) { c.fronts = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")} }

// ask is a question as a front of that name would put it.
func (r *rig) ask(name, method, host, target string, lines ...string) answerOf {
	r.t.Helper()
	lines = slices.Clone(lines)
	switch name {
	case "nginx":
		lines = append(lines, "X-Original-Method: "+method, "X-Original-URL: https://"+host+target)
	case "traefik", "caddy":
		lines = append(lines, "X-Forwarded-Method: "+method, "X-Forwarded-Host: "+host, "X-Forwarded-Uri: "+target, "X-Forwarded-Proto: https")
	case "envoy":
		return r.send(method, "/.sso/auth/envoy"+target, append(lines, "Host: "+host)...)
	}
	return r.send("GET", "/.sso/auth/"+name, append(lines, "Host: gate.internal")...)
}

// narrow is what nginx is told for an answer of the gate.
func narrow(status int) int {
	switch {
	case status == 302:
		return 401
	case status >= 400 && status < 500 && status != 401:
		return 403
	}
	return status
}

// Every row of the P and H tables: whoever asks through a front gets the gate's own
// verdict, and nobody passes there who would not pass here.
func TestForwardAuthGivesTheVerdictOfTheGate(t *testing.T) {
	r := newRig(t, asking)
	r.app.handler = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-From-App", "yes")
	}
	type row struct {
		name, method, target string
		lines                []string
		admitted             bool
	}
	get := func(name, target string, lines ...string) row { return row{name: name, target: target, lines: lines} }
	rows := []row{
		{"benign", "GET", "/", []string{as("ana")}, true},
		{"benign, public", "GET", "/public/x?y=1", nil, true},
		{"benign, team", "POST", "/admin/x", []string{as("ben")}, true},
		{"benign, escapes", "GET", "/a%20b/%C3%A9?q=%2F..%2f;", []string{as("ana")}, true},
		get("no session, page", "/x", navigate), get("no session, script", "/x", "Accept: application/json"),
		get("no team", "/admin", as("ana"), navigate),
		get("P01 dots", "/public/../admin", as("ana")), get("P01 encoded", "/public/%2e%2e/admin"), get("P01 slash", "/public/..%2fadmin"),
		get("P01 parameter", "/public/..;/admin"), get("P01 double slash", "/public//admin"), get("P01 backslash", `/public/..\admin`),
		get("P02 query", "/admin?/public/"), get("P02 fragment", "/admin%23/public/x"), get("P02 raw fragment", "/admin#/public/x"),
		get("P03 longer", "/publicX"), get("P03 case", "/PUBLIC/x"), get("P03 space", "/public%20/x"), get("P03 NUL", "/public%00/x"), get("P03 route by case", "/ADMIN", as("ana")),
		{"P05 path headers", "GET", "/admin", []string{as("ana"), "X-Rewrite-URL: /public/x", "X-Forwarded-Path: /public/x"}, false},
		get("P06 near", "/.SSO/x", as("ana")), get("P06 escaped", "/%2esso/x", as("ana")), get("P06 slash", "//.sso/", as("ana")),
		get("P07 probe", "/admin", "User-Agent: kube-probe/1"), get("P07 dots", "/healthz/../admin"),
		{"P08 TRACE", "TRACE", "/", []string{as("ana")}, false},
		{"P08 lower case", "get", "/", []string{as("ana")}, false},
		{"P09 form", "POST", "/x", []string{navigate}, false},
		{"P09 fetch", "POST", "/x", []string{"Sec-Fetch-Mode: cors"}, false},
		get("P09 range", "/x", "Range: bytes=0-1"),
		get("H07 two cookies", "/", "Cookie: "+cookieName+"=ana; "+cookieName+"=ben"),
		get("K02 tampered", "/", as("wrong")), get("expired", "/", as("expired"), navigate), get("revoked", "/", as("revoked"), navigate),
		get("fault 1 store down", "/", as("down"), navigate),
		get("T06 many headers", "/", append([]string{as("ana")}, strings.Split(strings.Repeat("X-A: b\n", 300), "\n")[:300]...)...),
	}
	for _, c := range rows {
		method := c.method
		if method == "" {
			method = "GET"
		}
		gate := r.send(method, c.target, append(slices.Clone(c.lines), "Content-Length: 0")...)
		if passed := gate.Header.Get("X-From-App") != ""; passed != c.admitted {
			t.Errorf("%s: the gate itself: %d", c.name, gate.StatusCode)
		}
		for name := range fronts {
			want := gate.StatusCode
			if name == "nginx" {
				want = narrow(want)
			}
			got := r.ask(name, method, appHost, c.target, c.lines...)
			if got.StatusCode != want {
				t.Errorf("%s: %s is told %d, the gate says %d", c.name, name, got.StatusCode, gate.StatusCode)
			}
			if (got.StatusCode/100 == 2) != c.admitted {
				t.Errorf("%s: %s would pass it on: %d", c.name, name, got.StatusCode)
			}
			if loc := gate.Header.Get("Location"); got.Header.Get("Location") != loc {
				t.Errorf("%s: %s is sent to %q, not %q", c.name, name, got.Header.Get("Location"), loc)
			}
		}
	}
}

func TestP04ForwardAuthIsAboutOneHost(t *testing.T) {
	r := newRig(t, asking)
	for host, want := range map[string]int{
		appHost: 200, "APP.example.COM": 200, "app.example.com:443": 200,
		"evil.example.com": 421, "app.example.com:80": 421, "app.example.com.": 400, "user@app.example.com": 400, "app.example.com, evil": 400,
	} {
		for name, f := range fronts {
			if name == "envoy" && strings.ContainsAny(host, "@,") {
				continue // net/http refuses it as a Host header
			}
			said := want
			if f.narrow {
				said = narrow(want)
			}
			if got := r.ask(name, "GET", host, "/", as("ana")); got.StatusCode != said {
				t.Errorf("%s about %q: %d, want %d", name, host, got.StatusCode, said)
			}
		}
	}
}

// Row H: the headers to copy are ours whatever the client sends, and a header that a
// front could not overwrite is not passed on at all.
func TestForwardAuthAnswersIdentityToCopy(t *testing.T) {
	r := newRig(t, asking)
	for name, f := range fronts {
		res := r.ask(name, "GET", appHost, "/", "Cookie: a=1; "+cookieName+"=ben; b=2", "X-Forwarded-User: admin", "X-Forwarded-Groups: admin")
		h := res.Header
		if res.StatusCode != 200 || h.Get("X-Forwarded-User") != "m-ben" || h.Get("X-Forwarded-Groups") != "finance" {
			t.Errorf("%s: %d %v", name, res.StatusCode, h)
		}
		if _, there := h["X-Forwarded-Email"]; there != f.blank || h.Get("X-Forwarded-Email") != "" {
			t.Errorf("%s: H06: ben has no address, the answer says %q", name, h["X-Forwarded-Email"])
		}
		if h.Get("Cookie") != "a=1; b=2" {
			t.Errorf("%s: H07: cookies to pass on: %q", name, h["Cookie"])
		}
		if h.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: a verdict may be kept: %q", name, h["Cache-Control"])
		}
		if res := r.ask(name, "GET", appHost, "/public/x", "X-Forwarded-User: admin"); res.StatusCode != 200 || res.Header.Get("X-Forwarded-User") != "" {
			t.Errorf("%s: on a public path somebody is named: %v", name, res.Header)
		}
		for _, alias := range []string{"X_Forwarded_User", "X.Forwarded.User", "X~Forwarded~User", "x-forwarded_groups", "Remote-User", "Remote_User", "X-Remote-User", "Auth-User", "X-Ssogate-Anything"} {
			want := 400
			if f.narrow {
				want = 403
			}
			if res := r.ask(name, "GET", appHost, "/", as("ana"), alias+": admin"); res.StatusCode != want {
				t.Errorf("%s: H01: %s would reach the application: %d", name, alias, res.StatusCode)
			}
		}
	}
}

func TestW01ForwardAuthChecksTheOriginOfHandshakes(t *testing.T) {
	r := newRig(t, asking)
	for name := range fronts {
		key := "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="
		if res := r.ask(name, "GET", appHost, "/ws", as("ana"), key, "Origin: https://"+appHost); res.StatusCode != 200 {
			t.Errorf("%s benign: %d", name, res.StatusCode)
		}
		for _, origin := range []string{"https://evil.example", "null", "https://x." + appHost, ""} {
			lines := []string{as("ana"), key}
			if origin != "" {
				lines = append(lines, "Origin: "+origin)
			}
			if res := r.ask(name, "GET", appHost, "/ws", lines...); res.StatusCode != 403 {
				t.Errorf("%s from %q: %d, want 403", name, origin, res.StatusCode)
			}
		}
	}
}

// Only who is listed may ask, and each only in its own words.
func TestOnlyConfiguredFrontsAreAnswered(t *testing.T) {
	nobody := newRig(t)
	for name := range fronts {
		res := nobody.ask(name, "GET", appHost, "/", as("ana"))
		if res.StatusCode == 200 && !strings.HasPrefix(res.text, "reserved") || res.Header.Get("X-Forwarded-User") != "" {
			t.Errorf("%s: a verdict for somebody who is not listed: %d %v", name, res.StatusCode, res.Header)
		}
	}
	other := newRig(t, func(c *rigConfig) { c.fronts = []netip.Prefix{netip.MustParsePrefix("192.0.2.1/32")} })
	if res := other.ask("nginx", "GET", appHost, "/", as("ana"), "X-Forwarded-For: 192.0.2.1"); res.Header.Get("X-Forwarded-User") != "" {
		t.Error("whoever writes the front's address into a header is believed")
	}

	r := newRig(t, asking)
	for _, c := range []struct {
		why, name string
		lines     []string
	}{
		{"nothing said", "nginx", nil},
		{"no method", "nginx", []string{"X-Original-URL: https://" + appHost + "/"}},
		{"no url", "nginx", []string{"X-Original-Method: GET"}},
		{"two urls", "nginx", []string{"X-Original-Method: GET", "X-Original-URL: https://" + appHost + "/public/x", "X-Original-URL: https://" + appHost + "/"}},
		{"a path for a url", "nginx", []string{"X-Original-Method: GET", "X-Original-URL: /public/x"}},
		{"no path", "nginx", []string{"X-Original-Method: GET", "X-Original-URL: https://" + appHost}},
		{"another scheme", "nginx", []string{"X-Original-Method: GET", "X-Original-URL: file://" + appHost + "/public/x"}},
		{"nginx's words for Traefik", "traefik", []string{"X-Original-Method: GET", "X-Original-URL: https://" + appHost + "/public/x"}},
		{"two targets", "traefik", []string{"X-Forwarded-Method: GET", "X-Forwarded-Host: " + appHost, "X-Forwarded-Uri: /public/x", "X-Forwarded-Uri: /admin"}},
		{"two methods", "caddy", []string{"X-Forwarded-Method: GET", "X-Forwarded-Method: POST", "X-Forwarded-Host: " + appHost, "X-Forwarded-Uri: /public/x"}},
		{"no host", "caddy", []string{"X-Forwarded-Method: GET", "X-Forwarded-Uri: /public/x"}},
		{"nothing behind the name", "envoy", nil},
		{"unknown name", "apache", []string{"X-Original-Method: GET", "X-Original-URL: https://" + appHost + "/public/x"}},
		{"no name", "", []string{"X-Original-Method: GET", "X-Original-URL: https://" + appHost + "/public/x"}},
		{"another case", "NGINX", []string{"X-Original-Method: GET", "X-Original-URL: https://" + appHost + "/public/x"}},
	} {
		if res := r.send("GET", "/.sso/auth/"+c.name, append(c.lines, as("ana"))...); res.StatusCode/100 != 4 {
			t.Errorf("%s: %d, want a refusal", c.why, res.StatusCode)
		}
	}
	// Row P06: our own pages are no reason to pass a request on.
	for name := range fronts {
		if res := r.ask(name, "GET", appHost, "/.sso/whoami", as("ana")); res.StatusCode/100 != 4 {
			t.Errorf("%s passes /.sso/whoami on: %d", name, res.StatusCode)
		}
	}
	r.none("verdicts are not forwarded")
}

// The client's address comes from what the front appended, and decides rules.
func TestH03ForwardAuthSeesTheClientsAddress(t *testing.T) {
	r := newRig(t, asking, func(c *rigConfig) {
		c.specs = []RouteSpec{{Name: "app", Origins: []string{"https://" + appHost}, Access: []RuleSpec{
			{Allow: AllowMembers, Addresses: []netip.Prefix{netip.MustParsePrefix("198.51.100.0/24")}},
		}}}
	})
	for name := range fronts {
		for xff, want := range map[string]int{"198.51.100.7": 200, "203.0.113.9, 198.51.100.7": 200, "198.51.100.7, 203.0.113.9": 403, "a": 403} {
			if res := r.ask(name, "GET", appHost, "/", as("ana"), "X-Forwarded-For: "+xff); res.StatusCode != want {
				t.Errorf("%s from %q: %d, want %d", name, xff, res.StatusCode, want)
			}
		}
	}
}

// A principal that went stale between reading and answering gets no verdict.
func TestForwardAuthRechecksBeforeItAnswers(t *testing.T) {
	r := newRig(t, asking)
	var p *session.Principal
	r.sessions.change(func() { p = r.sessions.by["ana"]; r.sessions.stale[p] = true })
	for name := range fronts {
		if res := r.ask(name, "GET", appHost, "/", as("ana"), navigate); res.StatusCode != 503 || len(res.Cookies()) != 0 {
			t.Errorf("%s: %d, cookies %v", name, res.StatusCode, res.Cookies())
		}
	}
}

func FuzzForwardAuthQuestions(f *testing.F) {
	f.Add("GET", "https://"+appHost+"/public/x", "/public/x")
	f.Add("get", "https:///admin", "//")
	f.Fuzz(func(t *testing.T, method, url, uri string) {
		h := http.Header{"X-Original-Method": {method}, "X-Original-Url": {url}, "X-Forwarded-Method": {method}, "X-Forwarded-Host": {appHost}, "X-Forwarded-Uri": {uri}}
		q := &http.Request{Method: "GET", Host: appHost, Header: h, RequestURI: "/.sso/auth/envoy" + uri}
		for name, f := range fronts {
			_, rest := frontOf(q.RequestURI)
			a, ok := f.read(q, rest)
			if ok && (a.target == "" || name == "nginx" && (a.target[0] != '/' || !strings.HasSuffix(url, a.host+a.target))) {
				t.Errorf("%s: %+v of %s", name, a, strconv.Quote(url))
			}
		}
	})
}
