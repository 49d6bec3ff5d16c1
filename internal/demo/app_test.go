package demo

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// quick is the application at a pace for tests.
func quick(t *testing.T) *httptest.Server {
	t.Helper()
	srv := httptest.NewServer(newApp(pace{tick: 2 * time.Millisecond, chunks: 50, chunk: 1 << 10, every: time.Millisecond}))
	t.Cleanup(func() {
		srv.CloseClientConnections()
		srv.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return srv
}

func get(t *testing.T, url string, header http.Header) (*http.Response, string) {
	t.Helper()
	req, err := http.NewRequest(http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	for k, v := range header {
		req.Header[k] = v
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(b)
}

func TestAppShowsTheIdentityItWasGiven(t *testing.T) {
	srv := quick(t)
	h := http.Header{
		"X-Forwarded-User": {"01J"}, "X-Forwarded-Preferred-Username": {"ana@example.com"}, "X-Forwarded-Name": {"<b>Ana</b>"},
		"X-Forwarded-Groups": {"keepers"}, "Cookie": {"app=topsecret"},
	}
	res, body := get(t, srv.URL, h)
	for _, want := range []string{"ana@example.com", "01J", "keepers", "&lt;b&gt;Ana&lt;/b&gt;", "/.sso/logout", "not sent"} {
		if !strings.Contains(body, want) {
			t.Errorf("page lacks %q", want)
		}
	}
	for _, never := range []string{"<b>Ana", "topsecret", "directly"} {
		if strings.Contains(body, never) {
			t.Errorf("page shows %q", never)
		}
	}
	if res.Header.Get("Content-Security-Policy") != policy {
		t.Error("page has no policy")
	}
	if _, body := get(t, srv.URL, nil); !strings.Contains(body, "directly") || strings.Contains(body, "Sign out") {
		t.Error("without identity headers the page does not say so")
	}
}

func TestAppWhoamiForScripts(t *testing.T) {
	srv := quick(t)
	_, body := get(t, srv.URL+"/whoami", http.Header{"X-Forwarded-User": {"01J"}, "Cookie": {"a=b"}})
	var got struct {
		Headers map[string][]string
		Cookies int
	}
	if err := json.Unmarshal([]byte(body), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Headers) != 1 || got.Headers["X-Forwarded-User"][0] != "01J" || got.Cookies != 1 {
		t.Errorf("whoami is %+v", got)
	}
}

func TestAppServesOnlyItsNamedFiles(t *testing.T) {
	srv := quick(t)
	for path, want := range map[string]int{
		"/assets/app.css": 200, "/assets/app.js": 200, "/assets/app.html": 404, "/assets/": 404, "/assets/scim.css": 404, "/nothing": 404,
	} {
		if res, _ := get(t, srv.URL+path, nil); res.StatusCode != want {
			t.Errorf("%s is %d, want %d", path, res.StatusCode, want)
		}
	}
}

func TestWebSocketTicksUntilItIsClosed(t *testing.T) {
	srv := quick(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	for name, h := range map[string]http.Header{
		"a client without Origin":     {},
		"the page itself":             {"Origin": {srv.URL}},
		"the page behind the gateway": {"Origin": {"http://app.example.com"}, "X-Forwarded-Host": {"app.example.com"}},
	} {
		c, _, err := websocket.Dial(ctx, srv.URL+"/ws", &websocket.DialOptions{HTTPHeader: h})
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		for want := 1; want <= 3; want++ {
			_, b, err := c.Read(ctx)
			if err != nil {
				t.Fatalf("%s: tick %d: %v", name, want, err)
			}
			var got tick
			if json.Unmarshal(b, &got) != nil || got.N != want || got.Time == "" {
				t.Fatalf("%s: message %q, want tick %d", name, b, want)
			}
		}
		if err := c.Close(websocket.StatusNormalClosure, ""); err != nil {
			t.Errorf("%s: close: %v", name, err)
		}
	}
}

func TestWebSocketRefusesOtherOrigins(t *testing.T) {
	srv := quick(t)
	for name, h := range map[string]http.Header{
		"another site":                    {"Origin": {"http://evil.example"}},
		"another site behind the gateway": {"Origin": {"http://evil.example"}, "X-Forwarded-Host": {"app.example.com"}},
		"a pattern as forwarded host":     {"Origin": {"http://evil.example"}, "X-Forwarded-Host": {"*"}},
	} {
		c, res, err := websocket.Dial(t.Context(), srv.URL+"/ws", &websocket.DialOptions{HTTPHeader: h})
		if err == nil {
			_ = c.CloseNow()
			t.Errorf("%s opened a WebSocket", name)
		} else if res == nil || res.StatusCode != http.StatusForbidden {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestEventStreamTicks(t *testing.T) {
	srv := quick(t)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL+"/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if ct := res.Header.Get("Content-Type"); ct != "text/event-stream" {
		t.Errorf("content type %q", ct)
	}
	lines := bufio.NewScanner(res.Body)
	for n := 1; n <= 3; {
		if !lines.Scan() {
			t.Fatalf("stream ended before event %d: %v", n, lines.Err())
		}
		if data, ok := strings.CutPrefix(lines.Text(), "data: "); ok {
			var got tick
			if json.Unmarshal([]byte(data), &got) != nil || got.N != n {
				t.Fatalf("event %q, want tick %d", data, n)
			}
			n++
		}
	}
}

func TestDownloadIsWholeOrVisiblyBroken(t *testing.T) {
	srv := quick(t)
	res, body := get(t, srv.URL+"/download", nil)
	if len(body) != 50<<10 || res.ContentLength != 50<<10 || !strings.Contains(res.Header.Get("Content-Disposition"), "attachment") {
		t.Errorf("download has %d bytes, announced %d", len(body), res.ContentLength)
	}
	ctx, cancel := context.WithCancel(t.Context())
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, srv.URL+"/download", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err = http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if _, err := io.ReadFull(res.Body, make([]byte, 1<<10)); err != nil {
		t.Fatal(err)
	}
	cancel()
	if _, err := io.ReadAll(res.Body); err == nil {
		t.Error("a download cut half-way looks complete")
	}
}

func TestPeopleCanSignIn(t *testing.T) {
	seen := map[string]bool{}
	for _, p := range People() {
		if p.User == "" || p.Password == "" || p.Email != p.User || p.DisplayName == "" || seen[p.User] || seen[p.Password] {
			t.Errorf("person %+v is incomplete or not unique", p)
		}
		seen[p.User], seen[p.Password] = true, true
	}
	if len(People()) != 3 {
		t.Error("the story has three people")
	}
	People()[0].User = "changed"
	if People()[0].User == "changed" {
		t.Error("People hands out shared memory")
	}
}
