package proxy

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestP09WithoutASessionEachClientGetsAnAnswerItUnderstands(t *testing.T) {
	const form, jsonBody = "Content-Type: application/x-www-form-urlencoded", "Content-Type: application/json"
	for _, c := range []struct {
		name, method string
		lines        []string
		want         int
		kind         string
	}{
		{"page load", "GET", []string{navigate, html}, 302, ""},
		{"page load of an old browser", "GET", []string{html}, 302, ""},
		{"HEAD of a page", "HEAD", []string{navigate}, 302, ""},
		{"page load with remembered Basic", "GET", []string{navigate, "Authorization: Basic eDp5"}, 302, ""},
		{"form POST", "POST", []string{navigate, html, form, "Content-Length: 0"}, 401, "text/html"},
		{"form POST of an old browser", "POST", []string{html, form, "Content-Length: 0"}, 401, "text/html"},
		{"fetch", "GET", []string{"Sec-Fetch-Mode: cors", "Accept: */*"}, 401, "problem"},
		{"fetch that accepts html", "GET", []string{"Sec-Fetch-Mode: same-origin", html}, 401, "problem"},
		{"image", "GET", []string{"Sec-Fetch-Mode: no-cors", "Accept: image/avif"}, 401, "problem"},
		{"fetch POST", "POST", []string{"Sec-Fetch-Mode: cors", jsonBody, "Content-Length: 0"}, 401, "problem"},
		{"XHR of an old browser", "GET", []string{html, "X-Requested-With: XMLHttpRequest"}, 401, "problem"},
		{"Accept json", "GET", []string{"Accept: application/json"}, 401, "problem"},
		{"curl", "GET", []string{"Accept: */*"}, 401, "problem"},
		{"API with a token", "GET", []string{html, "Authorization: Bearer x"}, 401, "problem"},
		{"gRPC", "POST", []string{"Content-Type: application/grpc", "TE: trailers", "Content-Length: 0"}, 401, "application/grpc"},
		{"gRPC-Web", "POST", []string{"Content-Type: application/grpc-web+proto", "Sec-Fetch-Mode: cors", "Content-Length: 0"}, 401, "application/grpc-web+proto"},
		{"Range", "GET", []string{html, "Range: bytes=100-"}, 401, "problem"},
		{"Range of a navigation", "GET", []string{navigate, html, "Range: bytes=100-"}, 401, "problem"},
		{"prefetch", "GET", []string{navigate, html, "Sec-Purpose: prefetch;prerender"}, 401, "problem"},
		{"DELETE", "DELETE", []string{html}, 401, "problem"},
		{"WebSocket", "GET", []string{"Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: x", "Sec-WebSocket-Version: 13", "Origin: https://" + appHost}, 401, "problem"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			for _, token := range []string{"", "expired"} {
				lines := c.lines
				if token != "" {
					lines = append(lines[:len(lines):len(lines)], as(token))
				}
				res := r.send(c.method, "/page?x=y", lines...)
				if res.StatusCode != c.want || !strings.Contains(res.Header.Get("Content-Type"), c.kind) {
					t.Fatalf("%d %s, want %d %s", res.StatusCode, res.Header.Get("Content-Type"), c.want, c.kind)
				}
				if res.Header.Get("Cache-Control") != "no-store" {
					t.Errorf("K10: %q", res.Header.Get("Cache-Control"))
				}
				if c.want == 401 {
					if hint := res.Header.Get("WWW-Authenticate"); !strings.Contains(hint, "https://sso.example.com/login") {
						t.Errorf("no hint where to sign in: %q", hint)
					}
					if res.Header.Get("Location") != "" || len(res.Header["Set-Cookie"]) > 0 || len(r.signIn.returns) > 0 {
						t.Error("a sign-in was begun that nobody can finish")
					}
				}
				if c.kind == "problem" {
					var p struct {
						Status    int
						Reference string
					}
					if err := json.Unmarshal([]byte(res.text), &p); err != nil || p.Status != 401 || p.Reference == "" {
						t.Errorf("%v: %s", err, res.text)
					}
				}
			}
			r.none("no session")
		})
	}
}

func TestP09LostFormSaysSo(t *testing.T) {
	r := newRig(t)
	post := func(referer string) answerOf {
		return r.send("POST", "/save", navigate, html, "Content-Length: 0", "Referer: "+referer)
	}
	if res := post("https://app.example.com/edit?id=7"); !strings.Contains(res.text, "form was not sent") || !strings.Contains(res.text, `href="/edit?id=7"`) {
		t.Errorf("page:\n%s", res.text)
	}
	for _, referer := range []string{"https://evil.example/x", "https://app.example.com.evil.example/x", "https://app.example.com@evil.example/", "https://app.example.com//evil.example", "https://app.example.com/.sso/logout", `https://app.example.com/\evil`, ""} {
		res := post(referer)
		if strings.Contains(res.text, "evil") || strings.Contains(res.text, ".sso") || !strings.Contains(res.text, `href="/"`) {
			t.Errorf("Referer %q leads somewhere:\n%s", referer, res.text)
		}
	}
}

func TestU02RefusalPagesShowHostileTextInert(t *testing.T) {
	r := newRig(t)
	m := ana
	m.UserName = `<img src=x onerror=alert(1)>`
	r.sessions.by["xss"] = principal("xss", m)
	res := r.get("/admin", as("xss"), navigate)
	if res.StatusCode != 403 || strings.Contains(res.text, "<img") || !strings.Contains(res.text, "&lt;img") {
		t.Errorf("%d\n%s", res.StatusCode, res.text)
	}
}

func TestEveryAnswerOfOursIsNoStore(t *testing.T) {
	r := newRig(t)
	for name, res := range map[string]answerOf{
		"400": r.get("/a//b", navigate), "403": r.get("/admin", as("ana"), navigate), "404": r.get("/.SSO/", navigate), "405": r.send("TRACE", "/"),
		"421": r.get("/", "Host: evil.example"), "503": r.get("/", as("down"), navigate), "503 program": r.get("/", as("down")), "302": r.get("/", navigate),
	} {
		if !strings.HasPrefix(res.Status, name[:3]) {
			t.Errorf("%s: %s", name, res.Status)
		}
		if res.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s: Cache-Control %q", name, res.Header.Get("Cache-Control"))
		}
	}
}
