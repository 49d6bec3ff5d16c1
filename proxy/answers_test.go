package proxy

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"time"
)

// options is a rig with one route of these options.
func options(t *testing.T, s RouteSpec) *rig {
	t.Helper()
	s.Name, s.Origins = "app", []string{"https://" + appHost}
	return newRig(t, func(c *rigConfig) { c.specs = []RouteSpec{s} })
}

func TestGRPCClientsGetAStatusOfTheirOwn(t *testing.T) {
	r := newRig(t)
	r.app.handler = func(w http.ResponseWriter, q *http.Request) {
		_, _ = io.Copy(io.Discard, q.Body)
		w.Header().Set("Content-Type", "application/grpc")
		w.Header().Set("Grpc-Status", "0")
	}
	grpc := []string{"Content-Type: application/grpc+proto; x=y", "TE: trailers", "Content-Length: 0"}
	if res := r.send("POST", "/svc/Method", append(grpc, as("ana"))...); res.StatusCode != 200 || res.Header.Get("Grpc-Status") != "0" {
		t.Fatalf("benign: %d %v", res.StatusCode, res.Header)
	}
	for _, c := range []struct {
		why, target, token string
		status             int
		code               string
	}{
		{"signed out", "/svc/M", "", 401, "16"},
		{"not in the team", "/admin/M", "ana", 403, "7"},
		{"store down", "/svc/M", "down", 503, "14"},
	} {
		res := r.send("POST", c.target, append(grpc, as(c.token))...)
		msg := res.Header.Get("Grpc-Message")
		if res.StatusCode != c.status || res.Header.Get("Grpc-Status") != c.code || res.Header.Get("Content-Type") != "application/grpc+proto" || msg == "" || res.text != "" {
			t.Errorf("%s: %d %v %q", c.why, res.StatusCode, res.Header, res.text)
		}
	}
	if got := rpcMessage("50% für\n"); got != "50%25 f%C3%BCr%0A" {
		t.Errorf("%q", got)
	}
}

func TestCORSPreflightIsAnsweredForTheRoute(t *testing.T) {
	r := options(t, RouteSpec{CORS: CORS{
		Origins: []string{"https://portal.example.com"}, Methods: []string{"PUT"}, Headers: []string{"X-Csrf-Token"}, Expose: []string{"X-Total"}, Credentials: true, MaxAge: 10 * time.Minute,
	}})
	ask := func(origin string, lines ...string) answerOf {
		return r.send("OPTIONS", "/api", append(lines, "Origin: "+origin, "Access-Control-Request-Method: PUT", "Sec-Fetch-Mode: cors")...)
	}
	res := ask("https://portal.example.com")
	for name, want := range map[string]string{
		"Access-Control-Allow-Origin": "https://portal.example.com", "Access-Control-Allow-Methods": "PUT", "Access-Control-Allow-Headers": "X-Csrf-Token",
		"Access-Control-Allow-Credentials": "true", "Access-Control-Max-Age": "600", "Vary": "Origin", "Cache-Control": "no-store", "Access-Control-Expose-Headers": "",
	} {
		if got := res.Header.Get(name); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
	if res.StatusCode != 204 {
		t.Errorf("%d", res.StatusCode)
	}
	for _, origin := range []string{"https://evil.example", "null", "https://portal.example.com.evil.example", "http://portal.example.com", "https://portal.example.com:8443", "https://x.portal.example.com", "*"} {
		if res := ask(origin); res.StatusCode != 403 || res.Header.Get("Access-Control-Allow-Origin") != "" {
			t.Errorf("%s: %d %v", origin, res.StatusCode, res.Header)
		}
		if res := r.get("/api", "Origin: "+origin, as("ana")); res.Header.Get("Access-Control-Allow-Origin") != "" || res.Header.Get("Vary") != "Origin" {
			t.Errorf("%s may read: %v", origin, res.Header)
		}
		r.app.reset()
	}
	// A refusal can be read, too, or a script would only know that the network failed.
	if res := r.get("/api", "Origin: https://portal.example.com", "Sec-Fetch-Mode: cors"); res.StatusCode != 401 || res.Header.Get("Access-Control-Allow-Origin") != "https://portal.example.com" || res.Header.Get("Access-Control-Expose-Headers") != "X-Total" {
		t.Errorf("signed out: %d %v", res.StatusCode, res.Header)
	}
	r.none("a preflight has no session, and these had none")
	r.app.handler = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Vary", "Accept")
		w.Header().Set("X-Total", "3")
	}
	if res := r.get("/api", "Origin: https://portal.example.com", as("ana")); res.Header.Get("Access-Control-Allow-Origin") != "https://portal.example.com" || strings.Join(res.Header["Vary"], ", ") != "Accept, Origin" {
		t.Errorf("signed in: %v", res.Header)
	}
	// What the application says itself stands alone.
	r.app.handler = func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Access-Control-Allow-Origin", "*") }
	if res := r.get("/api", "Origin: https://portal.example.com", as("ana")); strings.Join(res.Header["Access-Control-Allow-Origin"], ",") != "*" || res.Header.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("the application's own: %v", res.Header)
	}

	plain := newRig(t)
	if res := plain.send("OPTIONS", "/api", "Origin: https://portal.example.com", "Access-Control-Request-Method: PUT"); res.StatusCode != 401 {
		t.Errorf("without the option: %d", res.StatusCode)
	}
	plain.none("a preflight is not admitted")
}

func TestW01FurtherOriginsOfWebSocketsAreNamedOneByOne(t *testing.T) {
	hand := []string{as("ana"), "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"}
	r := options(t, RouteSpec{WSOrigins: []string{"https://chat.example.com"}})
	for origin, want := range map[string]int{
		"https://" + appHost: 200, "https://chat.example.com": 200, // reached the application, which does not upgrade
		"https://evil.example": 403, "http://chat.example.com": 403, "https://x.chat.example.com": 403, "null": 403,
	} {
		if res := r.get("/ws", append(hand, "Origin: "+origin)...); res.StatusCode != want {
			t.Errorf("%s: %d, want %d", origin, res.StatusCode, want)
		}
	}
	off := options(t, RouteSpec{NoWebSockets: true, Public: []string{"/public/*"}})
	for _, target := range []string{"/ws", "/public/ws"} {
		if res := off.get(target, append(hand, "Origin: https://"+appHost)...); res.StatusCode != 403 {
			t.Errorf("%s with no_websockets: %d", target, res.StatusCode)
		}
	}
	off.none("no_websockets")
	if res := off.get("/page", as("ana")); res.StatusCode != 200 {
		t.Errorf("benign: %d", res.StatusCode)
	}
}

func TestRouteSaysWhatItsAnswersCarry(t *testing.T) {
	r := options(t, RouteSpec{HSTS: time.Hour, Answers: []ResponseHeader{
		{Name: "x-content-type-options", Value: "nosniff"}, {Name: "X-Frame-Options", Value: "DENY", Replace: true}, {Name: "Server", Replace: true},
	}})
	r.app.handler = func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-Frame-Options", "SAMEORIGIN")
		w.Header().Set("X-Content-Type-Options", "own")
		w.Header().Set("Server", "legacy/1")
		w.Header().Set("Strict-Transport-Security", "max-age=0")
	}
	h := r.get("/", as("ana")).Header
	for name, want := range map[string]string{
		"X-Content-Type-Options": "own", "X-Frame-Options": "DENY", "Server": "", "Strict-Transport-Security": "max-age=3600", "Cache-Control": "private",
	} {
		if got := strings.Join(h[name], "|"); got != want {
			t.Errorf("%s: %q, want %q", name, got, want)
		}
	}
}

// Row K10: only the route's own word lets members' pages into shared caches.
func TestK10SharedCachesOnlyByTheRoutesWord(t *testing.T) {
	for _, shared := range []bool{false, true} {
		r := options(t, RouteSpec{SharedCache: shared})
		r.app.handler = func(w http.ResponseWriter, _ *http.Request) { w.Header().Set("Cache-Control", "public, s-maxage=60") }
		want := map[bool]string{false: "private", true: "public, s-maxage=60"}[shared]
		if got := r.get("/", as("ana")).Header.Get("Cache-Control"); got != want {
			t.Errorf("shared_cache %t: %q, want %q", shared, got, want)
		}
		if got := r.get("/", navigate).Header.Get("Cache-Control"); got != "no-store" {
			t.Errorf("our own answer: %q", got)
		}
	}
}

func TestRouteOptionsThatContradictAreRefused(t *testing.T) {
	for why, s := range map[string]RouteSpec{
		"cors for all":             {CORS: CORS{Origins: []string{"*"}}},
		"cors for nobody":          {CORS: CORS{Credentials: true}},
		"cors with any header":     {CORS: CORS{Origins: []string{"https://a.example.com"}, Headers: []string{"*"}}},
		"cors for a week":          {CORS: CORS{Origins: []string{"https://a.example.com"}, MaxAge: 168 * time.Hour}},
		"sockets of null":          {WSOrigins: []string{"null"}},
		"sockets of some and none": {WSOrigins: []string{"https://a.example.com"}, NoWebSockets: true},
		"a cookie":                 {Answers: []ResponseHeader{{Name: "Set-Cookie", Value: "a=b"}}},
		"a length":                 {Answers: []ResponseHeader{{Name: "content-length", Value: "1"}}},
		"a line break":             {Answers: []ResponseHeader{{Name: "X-A", Value: "a\nb"}}},
		"nothing":                  {Answers: []ResponseHeader{{Name: "X-A"}}},
		"hsts for ever":            {HSTS: 100 * 8760 * time.Hour},
	} {
		s.Name, s.Origins, s.Upstream = "app", []string{"https://" + appHost}, "http://127.0.0.1:1"
		if _, err := Compile([]RouteSpec{s}, "https://sso.example.com"); err == nil {
			t.Errorf("%s is taken", why)
		}
	}
}
