package gatetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/demo"
	"github.com/ssogate/ssogate/internal/testserver"
	"github.com/ssogate/ssogate/sso/ssotest"
)

// world is a running demo with a clock that can be moved and a log that can be read.
type world struct {
	*run.Demo
	t     *testing.T
	clock *clock.Manual
	log   *logBuffer
	stop  func() error // ends it and answers what Serve answered
}

// start runs a world. Options may be changed; Port, Log and Now are ours.
func start(t *testing.T, change ...func(*run.DemoOptions)) *world {
	t.Helper()
	w := &world{t: t, clock: &clock.Manual{}, log: &logBuffer{}}
	o := run.DemoOptions{}
	for _, c := range change {
		c(&o)
	}
	o.Port, o.Now = 0, w.clock.Now
	o.Log = slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	d, err := run.NewDemo(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	w.Demo = d
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan struct{}), make(chan error, 1)
	go func() { done <- d.Serve(ctx, func() { close(ready) }) }()
	w.stop = sync.OnceValue(func() error {
		cancel()
		select {
		case err := <-done:
			return err
		case <-time.After(30 * time.Second):
			return fmt.Errorf("still running 30 s after it was told to stop")
		}
	})
	t.Cleanup(func() {
		if err := w.stop(); err != nil {
			t.Errorf("stop: %v", err)
		}
		if t.Failed() {
			t.Logf("log:\n%s", w.log.tail(8000))
		}
	})
	select {
	case <-ready:
	case err := <-done:
		done <- nil // for stop
		t.Fatalf("did not start: %v\n%s", err, w.log.tail(4000))
	case <-time.After(30 * time.Second):
		t.Fatalf("not ready after 30 s\n%s", w.log.tail(4000))
	}
	return w
}

// engines are the stores that the whole product runs on.
func engines(t *testing.T, f func(t *testing.T, with func(*run.DemoOptions))) {
	t.Helper()
	t.Run("embedded", func(t *testing.T) { f(t, func(*run.DemoOptions) {}) })
	t.Run("postgres and redis", func(t *testing.T) {
		dsn, redis := testserver.Postgres(t), testserver.Redis(t)
		f(t, func(o *run.DemoOptions) { o.Database, o.Redis = dsn, redis })
	})
}

func (w *world) person(i int) ssotest.Person { return demo.People()[i] }

func (w *world) ana() ssotest.Person { return w.person(0) }
func (w *world) ben() ssotest.Person { return w.person(1) }

// signedIn is a visitor who has signed in to the application by SAML.
func (w *world) signedIn(p ssotest.Person) *demo.Visitor {
	w.t.Helper()
	for try := 0; ; try++ {
		v := demo.NewVisitor()
		_, err := v.SignIn(w.t.Context(), w.Facts.App+"/", "SAML", p)
		if err == nil {
			return v
		}
		// Redis has 250 ms to answer; on a busy machine a 503 is right, and whoever
		// meets one comes back.
		var refused *demo.RefusedError
		if try == 2 || !errors.As(err, &refused) || refused.Page.Status != http.StatusServiceUnavailable {
			w.t.Fatal(err)
		}
	}
}

// answer is one response, read whole.
type answer struct {
	Status int
	Header http.Header
	Body   string
}

// send makes one request with a visitor's cookies and follows nothing.
func (w *world) send(v *demo.Visitor, method, u string, body io.Reader, header ...string) answer {
	w.t.Helper()
	req, err := http.NewRequestWithContext(w.t.Context(), method, u, body)
	if err != nil {
		w.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	if h := req.Header.Get("Host"); h != "" {
		req.Host = h
	}
	c := http.Client{Timeout: 20 * time.Second, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	if v != nil {
		c.Jar = v.Jar()
	}
	resp, err := c.Do(req)
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 4<<20))
	if err != nil {
		w.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

// get is a page load.
func (w *world) get(v *demo.Visitor, u string, header ...string) answer {
	w.t.Helper()
	return w.send(v, http.MethodGet, u, nil, append([]string{"Accept", "text/html", "Sec-Fetch-Mode", "navigate"}, header...)...)
}

// api is a script's request.
func (w *world) api(v *demo.Visitor, path string) answer {
	w.t.Helper()
	return w.send(v, http.MethodGet, w.Facts.App+path, nil, "Accept", "application/json")
}

// scim is one call of the provisioning API, as an identity provider makes it.
func (w *world) scim(method, path, body string) answer {
	w.t.Helper()
	var b io.Reader
	if body != "" {
		b = strings.NewReader(body)
	}
	return w.send(nil, method, w.Facts.SCIMBase+path, b, "Authorization", "Bearer "+w.Facts.Token, "Content-Type", "application/scim+json")
}

// userID finds a provisioned person.
func (w *world) userID(p ssotest.Person) string {
	w.t.Helper()
	a := w.scim(http.MethodGet, "/Users?filter="+url.QueryEscape(`userName eq "`+p.User+`"`), "")
	var list struct {
		Resources []struct{ ID string }
	}
	if err := json.Unmarshal([]byte(a.Body), &list); err != nil || len(list.Resources) != 1 {
		w.t.Fatalf("user %s: %d %s", p.User, a.Status, a.Body)
	}
	return list.Resources[0].ID
}

func activeBody(active bool) string {
	return fmt.Sprintf(`{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"replace","value":{"active":%t}}]}`, active)
}

// setActive deactivates or re-activates a person and demands a 2xx.
func (w *world) setActive(p ssotest.Person, active bool) {
	w.t.Helper()
	if a := w.scim(http.MethodPatch, "/Users/"+w.userID(p), activeBody(active)); a.Status/100 != 2 {
		w.t.Fatalf("active=%t: %d %s", active, a.Status, a.Body)
	}
}

// logBuffer keeps everything that was logged.
type logBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *logBuffer) tail(n int) string {
	s := l.String()
	return s[max(0, len(s)-n):]
}

// firstProviderOnly leaves the SAML provider, so that nobody is asked to choose.
func firstProviderOnly(c *config.Config) { c.Providers = c.Providers[:1] }
