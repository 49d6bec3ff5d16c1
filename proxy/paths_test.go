package proxy

import (
	"strings"
	"testing"
)

// The application must see nothing of a request whose path has two readings, and
// a public path must not open anything but itself.
func TestPublicPathsOpenNothingElse(t *testing.T) {
	r := newRig(t)
	for _, target := range []string{"/public/x", "/public/", "/public/a/b?/admin", "/exact", "/exact?x=/admin"} {
		r.app.reset()
		if res := r.get(target); res.StatusCode != 200 || r.one().target != target {
			t.Errorf("benign %s: %d", target, res.StatusCode)
		}
	}
	for _, c := range []struct{ name, target string }{
		{"P01 dots", "/public/../admin"},
		{"P01 encoded dots", "/public/%2e%2e/admin"},
		{"P01 encoded slash", "/public/..%2fadmin"},
		{"P01 parameter", "/public/..;/admin"},
		{"P01 double slash", "/public//admin"},
		{"P01 leading double slash", "//public/x"},
		{"P01 backslash", `/public/..\admin`},
		{"P01 double encoding", "/public/%252e%252e/admin"},
		{"P01 needless escape", "/%70ublic/x"},
		{"P02 public in query", "/admin?/public/"},
		{"P02 public in query, encoded", "/admin?x=%2fpublic%2f"},
		{"P02 fragment", "/admin#/public/x"},
		{"P02 encoded fragment", "/admin%23/public/x"},
		{"P02 encoded question", "/admin%3f/public/x"},
		{"P03 longer", "/publicX"},
		{"P03 the directory without slash", "/public"},
		{"P03 case", "/PUBLIC/x"},
		{"P03 space", "/public%20/x"},
		{"P03 NUL", "/public%00/x"},
		{"P03 exact with slash", "/exact/"},
		{"P03 exact with more", "/exact.css"},
		{"P03 exact with tail", "/exact/x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r.app.reset()
			for _, accept := range []string{navigate, "Accept: application/json"} {
				res := r.get(c.target, accept)
				if res.StatusCode != 302 && res.StatusCode != 400 && res.StatusCode != 401 {
					t.Errorf("%s: %d, want a refusal or sign-in", c.target, res.StatusCode)
				}
				if res.StatusCode == 400 && (!res.Close || res.rest != "") {
					t.Errorf("%s: the connection of a malformed request stays open", c.target)
				}
			}
			r.none("it has no session")
		})
	}
}

func TestP03RoutesAreNotMissedByCase(t *testing.T) {
	r := newRig(t)
	if res := r.get("/adminx", as("ana")); res.StatusCode != 200 {
		t.Errorf("benign: %d", res.StatusCode)
	}
	r.app.reset()
	for _, target := range []string{"/ADMIN", "/Admin/x", "/admin./x", "/admin%20/x", "/%EF%BD%81dmin", "/adm%C4%B1n/../x", "/admi%E2%80%8Bn/x"} {
		res := r.get(target, as("ana"))
		if res.StatusCode != 404 && res.StatusCode != 400 {
			t.Errorf("%s: %d: a server that folds names would serve /admin, which this person may not open", target, res.StatusCode)
		}
	}
	r.none("the team rule could have been missed")
}

func TestP04Host(t *testing.T) {
	r := newRig(t)
	for _, host := range []string{"app.example.com", "APP.example.COM", "app.example.com:443"} {
		r.app.reset()
		if res := r.get("/", as("ana"), "Host: "+host); res.StatusCode != 200 {
			t.Errorf("benign %s: %d", host, res.StatusCode)
		}
		if got := r.one().header.Get("X-Forwarded-Host"); got != appHost {
			t.Errorf("%s: application learns host %q", host, got)
		}
	}
	r.app.reset()
	for host, want := range map[string]int{
		"evil.example.com": 421, "app.example.com:80": 421, "app.example.com:8443": 421, "app.example.com.": 400, "user@app.example.com": 400,
		"app.example.com, evil": 400, "x.app.example.com": 421, "app.example.com:": 400, "127.0.0.1": 421, "": 400,
	} {
		if res := r.get("/public/x", as("ana"), "Host: "+host); res.StatusCode != want {
			t.Errorf("%q: %d, want %d", host, res.StatusCode, want)
		}
	}
	for _, target := range []string{"http://evil.example.com/public/x", "http://app.example.com/public/x", "https://app.example.com/", "ftp://app.example.com/"} {
		if res := r.get(target, as("ana")); res.StatusCode != 400 {
			t.Errorf("absolute-form %s: %d, want 400", target, res.StatusCode)
		}
	}
	r.none("another host, or two")
}

func TestP06NearSpellingsOfOurPrefixAreNeverForwarded(t *testing.T) {
	r := newRig(t)
	if res := r.get("/sso/x", as("ana")); res.StatusCode != 200 {
		t.Errorf("benign: %d", res.StatusCode)
	}
	r.app.reset()
	for _, target := range []string{
		"/.sso", "/.SSO/", "/.Sso/complete", "/%2esso/", "/%2Esso/complete", "//.sso/", "/.sso/../.sso/x", "/.sso%2fcomplete", "/.sso;/x",
		"/.sso%20/x", "/.sso./x", "/./.sso/x", "/x/../.sso/", `/\.sso/`, "/.%73so/", "/.s%C5%BFo/", "/.sso?x",
	} {
		if res := r.get(target, as("ana")); res.StatusCode != 404 && res.StatusCode != 400 || strings.HasPrefix(res.text, "reserved") {
			t.Errorf("%s: %d %q", target, res.StatusCode, res.text)
		}
	}
	r.none("/.sso and its look-alikes belong to the gateway")
}

func TestP07NoHeaderOrMethodOpensAnything(t *testing.T) {
	r := newRig(t)
	if res := r.get("/", as("ana"), "User-Agent: curl/8"); res.StatusCode != 200 {
		t.Errorf("benign: %d", res.StatusCode)
	}
	r.app.reset()
	for _, line := range []string{
		"User-Agent: kube-probe/1.30", "User-Agent: ELB-HealthChecker/2.0", "User-Agent: GoogleHC/1.0", "User-Agent:", "X-Health-Check: 1",
		"X-Forwarded-For: 127.0.0.1", "X-Real-IP: 127.0.0.1", "X-Original-URL: /public/x", "X-Rewrite-URL: /public/x", "X-Forwarded-Uri: /public/x",
		"X-Forwarded-Prefix: /public", "X-Forwarded-Path: /public/x", "X-HTTP-Method-Override: OPTIONS", "X-Forwarded-User: ana", "Remote-User: ana",
		"Authorization: Basic YW5hOmFuYQ==", "X-Forwarded-Host: public.example.com", "Referer: https://app.example.com/public/x",
	} {
		for _, target := range []string{"/admin", "/", "/healthz"} {
			if res := r.get(target, line); res.StatusCode != 401 {
				t.Errorf("P05 P07 %q on %s: %d, want 401", line, target, res.StatusCode)
			}
		}
	}
	for _, method := range []string{"HEAD", "OPTIONS", "POST", "PUT", "DELETE", "PATCH"} {
		if res := r.send(method, "/admin"); res.StatusCode != 401 {
			t.Errorf("%s: %d, want 401", method, res.StatusCode)
		}
	}
	r.none("no session")
}

func TestP08Methods(t *testing.T) {
	r := newRig(t)
	for _, method := range []string{"TRACE", "CONNECT", "get", "TRACK", "PROPFIND"} {
		res := r.send(method, "/public/x", as("ana"))
		if res.StatusCode != 405 && res.StatusCode != 400 {
			t.Errorf("%s: %d", method, res.StatusCode)
		}
		if res.StatusCode == 405 && !strings.Contains(res.Header.Get("Allow"), "GET") {
			t.Errorf("%s: 405 without Allow (RFC 9110 section 15.5.6)", method)
		}
	}
	if res := r.send("CONNECT", "app.example.com:443", as("ana")); res.StatusCode != 405 && res.StatusCode != 400 {
		t.Errorf("CONNECT in authority-form: %d", res.StatusCode)
	}
	if res := r.send("OPTIONS", "*", as("ana")); len(r.app.requests()) != 0 {
		t.Errorf("OPTIONS * forwarded: %d", res.StatusCode)
	}
	r.none("such a method")
}

func TestP10UpgradesOtherThanAWebSocketHandshakeAreRefused(t *testing.T) {
	r := newRig(t)
	const key, version = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"
	origin := "Origin: https://" + appHost
	if res := r.get("/", as("ana"), "Connection: Upgrade", "Upgrade: websocket", key, version, origin); res.StatusCode != 200 {
		t.Errorf("benign: the application answers a handshake with a page: %d", res.StatusCode)
	}
	if r.one().header.Get("Upgrade") != "websocket" {
		t.Error("benign: the handshake did not reach the application")
	}
	if res := r.get("/", as("ana"), "Connection: upgrade"); res.StatusCode != 200 {
		t.Errorf("benign: a front proxy that always sends Connection: upgrade: %d", res.StatusCode)
	}
	r.app.reset()
	for name, lines := range map[string][]string{
		"h2c":             {"Connection: Upgrade, HTTP2-Settings", "Upgrade: h2c", "HTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA"},
		"list":            {"Connection: Upgrade", "Upgrade: websocket, h2c", key, version},
		"two lines":       {"Connection: Upgrade", "Upgrade: websocket", "Upgrade: h2c", key, version},
		"no connection":   {"Connection: keep-alive", "Upgrade: h2c"},
		"no key":          {"Connection: Upgrade", "Upgrade: websocket", version},
		"two keys":        {"Connection: Upgrade", "Upgrade: websocket", key, key, version},
		"no version":      {"Connection: Upgrade", "Upgrade: websocket", key},
		"with a body":     {"Connection: Upgrade", "Upgrade: websocket", key, version, "Content-Length: 3"},
		"with a chunk":    {"Connection: Upgrade", "Upgrade: websocket", key, version, "Transfer-Encoding: chunked"},
		"other protocol":  {"Connection: Upgrade", "Upgrade: TLS/1.0"},
		"look-alike name": {"Connection: Upgrade", "Upgrade: websocket/13", key, version},
	} {
		for _, target := range []string{"/", "/public/x"} {
			if res := r.get(target, append(lines, as("ana"), origin)...); res.StatusCode != 400 || !res.Close {
				t.Errorf("%s on %s: %d, want 400 and the connection closed", name, target, res.StatusCode)
			}
		}
	}
	if res := r.send("POST", "/", as("ana"), "Connection: Upgrade", "Upgrade: websocket", key, version, origin, "Content-Length: 0"); res.StatusCode != 400 {
		t.Errorf("on POST: %d", res.StatusCode)
	}
	r.none("it would have become a tunnel")
}

func TestW01OriginOfAWebSocket(t *testing.T) {
	r := newRig(t)
	hs := []string{as("ana"), "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"}
	if res := r.get("/", append(hs, "Origin: https://"+appHost)...); res.StatusCode != 200 {
		t.Errorf("benign: %d", res.StatusCode)
	}
	r.app.reset()
	for _, origin := range []string{
		"https://evil.example", "null", "", "https://x.app.example.com", "https://example.com", "http://app.example.com", "https://app.example.com:8443",
		"https://app.example.com.evil.example", "https://app.example.com, https://evil.example", "HTTPS://APP.EXAMPLE.COM", "https://sso.example.com",
	} {
		lines := hs
		if origin != "" {
			lines = append(lines[:len(lines):len(lines)], "Origin: "+origin)
		}
		if res := r.get("/", lines...); res.StatusCode != 403 {
			t.Errorf("Origin %q: %d, want 403: the cookie came along by itself", origin, res.StatusCode)
		}
	}
	if res := r.get("/", append(hs[:len(hs):len(hs)], "Origin: https://"+appHost, "Origin: https://evil.example")...); res.StatusCode != 403 {
		t.Errorf("two Origins: %d", res.StatusCode)
	}
	r.none("cross-site WebSocket")
}
