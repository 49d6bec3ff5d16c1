package gatetest

import (
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"
	goredis "github.com/redis/go-redis/v9"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
	"github.com/ssogate/ssogate/internal/demo"
	"github.com/ssogate/ssogate/internal/testserver"
)

// as is the same world for a subtest, so that a failure is the subtest's.
func (w *world) as(t *testing.T) *world {
	t.Helper()
	c := *w
	c.t = t
	return &c
}

// eventually waits for what happens by itself: a server that comes back, a
// breaker that closes.
func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 400 {
		if ok() {
			return
		}
		time.Sleep(25 * time.Millisecond)
	}
	t.Fatalf("not within 10 s: %s", what)
}

// metric reads one value from the private listener, "" when it is not there.
func (w *world) metric(name string) string {
	w.t.Helper()
	for line := range strings.Lines(w.get(nil, w.Facts.Private+"/metrics").Body) {
		if v, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(v)
		}
	}
	return ""
}

// destroysNothing is the answer while a store is down: come back soon, nothing
// forgotten, and not a word about the IdP, which could not help.
func destroysNothing(t *testing.T, what string, a answer) {
	t.Helper()
	if a.Status != http.StatusServiceUnavailable {
		t.Errorf("%s: status %d, want 503", what, a.Status)
	}
	if a.Header.Get("Retry-After") == "" {
		t.Errorf("%s: no Retry-After", what)
	}
	if c := a.Header.Values("Set-Cookie"); len(c) > 0 {
		t.Errorf("%s: cookies are touched: %q", what, c)
	}
	if l := a.Header.Get("Location"); l != "" {
		t.Errorf("%s: redirected to %s", what, l)
	}
	if strings.Contains(a.Body, "goroutine ") || strings.Contains(a.Body, "127.0.0.1:") {
		t.Errorf("%s: the page says too much: %s", what, a.Body)
	}
}

// forget makes the gateway look a person up anew: a change of teams makes
// principals stale, and ends nothing.
func (w *world) forget(user string) {
	w.t.Helper()
	body := fmt.Sprintf(`{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"forget-%d","members":[{"value":%q}]}`, time.Now().UnixNano(), user)
	if a := w.scim(http.MethodPost, "/Groups", body); a.Status != http.StatusCreated {
		w.t.Fatalf("group: %d %s", a.Status, a.Body)
	}
}

// Faults 1 and 24: what Redis keeps cannot be read; what is known under the lease of the
// database goes on.
func TestGuaranteeFailClosedRedisDown(t *testing.T) {
	for _, down := range []struct {
		how         string
		break_, fix func(*testserver.RedisServer)
	}{
		{"stopped", (*testserver.RedisServer).Stop, (*testserver.RedisServer).Start},
		{"silent", func(r *testserver.RedisServer) { r.Pause(time.Minute) }, (*testserver.RedisServer).Resume},
	} {
		t.Run(down.how, func(t *testing.T) {
			r := testserver.StartRedis(t)
			w := start(t, func(o *run.DemoOptions) { o.Redis = r.URL })
			ana, ben, cy := w.signedIn(w.ana()), w.signedIn(w.ben()), w.signedIn(w.person(2))
			benID, anaID := w.userID(w.ben()), w.userID(w.ana())
			ws := w.socket(ana)
			// A sign-in that is under way: its answer comes while Redis is down.
			begun := demo.NewVisitor()
			atIdP := w.begin(begun, run.DemoSAML)
			acs, resp, state, err := w.SAML.Respond(atIdP, w.ana().User)
			if err != nil {
				t.Fatal(err)
			}
			for who, v := range map[string]*demo.Visitor{"ana": ana, "ben": ben, "cy": cy} {
				if a := w.api(v, "/"); a.Status != http.StatusOK {
					t.Fatalf("before the fault, %s: %d", who, a.Status)
				}
			}
			before := cookieHeader(t, ben, w.Facts.App)

			down.break_(r)
			for who, v := range map[string]*demo.Visitor{"ben": ben, "cy": cy} {
				if a := w.api(v, "/"); a.Status != http.StatusOK {
					t.Errorf("%s, a cached principal under a live lease: %d", who, a.Status)
				}
			}
			// A cut-off needs no Redis, and takes nobody else with it.
			if a := w.scim(http.MethodPatch, "/Users/"+anaID, activeBody(false)); a.Status/100 != 2 {
				t.Errorf("SCIM deactivation while Redis is down: %d %s", a.Status, a.Body)
			}
			if a := w.api(ana, "/"); a.Status == http.StatusOK {
				t.Error("deactivated, and admitted from the cache")
			}
			if err := closedWith(ws, websocket.StatusPolicyViolation); err != nil {
				t.Errorf("her WebSocket: %v", err)
			}
			if a := w.api(cy, "/"); a.Status != http.StatusOK {
				t.Errorf("another member after the cut-off: %d", a.Status)
			}

			// From here on a principal must be read, and cannot be.
			w.forget(benID)
			destroysNothing(t, "a session that must be read, page", w.get(ben, w.Facts.App+"/"))
			destroysNothing(t, "a session that must be read, script", w.api(ben, "/"))
			destroysNothing(t, "a session that must be read, WebSocket", w.send(ben, http.MethodGet, w.Facts.App+"/ws", nil, "Connection", "Upgrade", "Upgrade", "websocket", "Sec-WebSocket-Version", "13", "Sec-WebSocket-Key", "dGhlIHNhbXBsZSBub25jZQ=="))
			destroysNothing(t, "whoami", w.api(ben, "/.sso/whoami"))
			destroysNothing(t, "logout", w.send(ben, http.MethodPost, w.Facts.App+"/.sso/logout", nil, "Origin", w.Facts.App, "Sec-Fetch-Site", "same-origin"))
			stranger := demo.NewVisitor()
			destroysNothing(t, "a stranger's page", w.get(stranger, w.Facts.App+"/page"))
			destroysNothing(t, "a sign-in at the gateway", w.get(stranger, w.Facts.Gateway+"/login?provider="+run.DemoSAML))
			destroysNothing(t, "the IdP's answer", w.postForm(begun, acs, url.Values{"SAMLResponse": {resp}, "RelayState": {state}}, "Origin", "null", "Sec-Fetch-Site", "cross-site"))
			destroysNothing(t, "a completion", w.get(begun, w.Facts.Gateway+"/complete?code="+strings.Repeat("A", 43)))
			if after := cookieHeader(t, ben, w.Facts.App); after != before {
				t.Error("the browser's cookies changed")
			}

			// Those who look from outside are told.
			if a := w.get(nil, w.Facts.Private+"/healthz"); a.Status != http.StatusOK {
				t.Errorf("healthz: %d: a restart would not help", a.Status)
			}
			if a := w.get(nil, w.Facts.Private+"/readyz"); a.Status != http.StatusServiceUnavailable || !strings.Contains(a.Body, "session store: down") {
				t.Errorf("readyz: %d %s", a.Status, a.Body)
			}
			if v := w.metric("session_store_up"); v != "0" {
				t.Errorf("session_store_up is %q", v)
			}

			down.fix(r)
			eventually(t, "ben's old cookie works again", func() bool { return w.api(ben, "/").Status == http.StatusOK })
			if a := w.api(ana, "/"); a.Status != http.StatusUnauthorized {
				t.Errorf("the deactivated member's cookie after the recovery: %d", a.Status)
			}
			if _, err := begun.SignIn(t.Context(), w.Facts.App+"/", "SAML", w.person(2)); err != nil {
				t.Errorf("a new sign-in after the recovery: %v", err)
			}
			if v := w.metric("session_store_up"); v != "1" {
				t.Errorf("session_store_up is %q after the recovery", v)
			}
		})
	}
}

// begin walks a visitor to the point where it would leave for the identity
// provider, and answers the URL it is sent to.
func (w *world) begin(v *demo.Visitor, provider string) string {
	w.t.Helper()
	return w.beginAt(v, w.Facts.App+"/", provider)
}

func (w *world) beginAt(v *demo.Visitor, page, provider string) string {
	w.t.Helper()
	a := w.get(v, page)
	to := a.Header.Get("Location")
	if a.Status != http.StatusFound || !strings.HasPrefix(to, w.Facts.Gateway+"/login?id=") {
		w.t.Fatalf("%s: %d to %q", page, a.Status, to)
	}
	return w.leave(v, to+"&provider="+provider)
}

// leave opens a sign-in with a provider chosen.
func (w *world) leave(v *demo.Visitor, login string) string {
	w.t.Helper()
	a := w.get(v, login)
	if a.Status != http.StatusFound {
		w.t.Fatalf("%s: %d %s", login, a.Status, a.Body)
	}
	return a.Header.Get("Location")
}

func (w *world) postForm(v *demo.Visitor, u string, f url.Values, header ...string) answer {
	w.t.Helper()
	return w.send(v, http.MethodPost, u, strings.NewReader(f.Encode()), append([]string{"Content-Type", "application/x-www-form-urlencoded", "Accept", "text/html", "Sec-Fetch-Mode", "navigate"}, header...)...)
}

// Fault 4 and row S17: an emptied Redis forgets sessions, never that an
// assertion was used.
func TestGuaranteeFailClosedRedisFlushed(t *testing.T) {
	redis := testserver.Redis(t)
	w := start(t, func(o *run.DemoOptions) { o.Redis = redis })
	v := demo.NewVisitor()
	acs, resp, state, err := w.SAML.Respond(w.begin(v, run.DemoSAML), w.ana().User)
	if err != nil {
		t.Fatal(err)
	}
	form := url.Values{"SAMLResponse": {resp}, "RelayState": {state}}
	if a := w.postForm(v, acs, form); a.Status != http.StatusOK || !strings.Contains(a.Body, "/complete?code=") {
		t.Fatalf("the genuine answer, once: %d %s", a.Status, a.Body)
	}
	ben := w.signedIn(w.ben())

	flush(t, redis)
	w.forget(w.userID(w.ben())) // or the cache would still know him, rightly

	if a := w.get(ben, w.Facts.App+"/"); a.Status != http.StatusFound || !strings.HasPrefix(a.Header.Get("Location"), w.Facts.Gateway+"/login") {
		t.Errorf("page after FLUSHALL: %d %s, want a sign-in", a.Status, a.Header.Get("Location"))
	}
	if a := w.api(ben, "/"); a.Status != http.StatusUnauthorized {
		t.Errorf("script after FLUSHALL: %d", a.Status)
	}
	if a := w.postForm(v, acs, form); a.Status != http.StatusForbidden || strings.Contains(a.Body, "/complete?code=") || a.Header.Get("Set-Cookie") != "" {
		t.Errorf("replayed after FLUSHALL: %d %s", a.Status, a.Body)
	}
	if _, err := ben.SignIn(t.Context(), w.Facts.App+"/", "SAML", w.ben()); err != nil {
		t.Errorf("signing in again: %v", err)
	}
}

// Faults 6 and 24: PostgreSQL goes away and comes back.
func TestGuaranteeFailClosedDatabaseDown(t *testing.T) {
	t.Parallel() // it mostly waits
	pg, redis := testserver.StartPostgres(t), testserver.Redis(t)
	dsn := pg.Database(t)
	w := start(t, func(o *run.DemoOptions) { o.Database, o.Redis = dsn, redis })
	ana, ben := w.signedIn(w.ana()), w.signedIn(w.ben())
	anaID := w.userID(w.ana())
	for _, v := range []*demo.Visitor{ana, ben} {
		if a := w.api(v, "/"); a.Status != http.StatusOK {
			t.Fatalf("before the fault: %d", a.Status)
		}
	}
	pg.Stop()
	eventually(t, "no lease, no cache", func() bool { return w.api(ana, "/").Status == http.StatusServiceUnavailable })
	destroysNothing(t, "a member's page", w.get(ana, w.Facts.App+"/"))
	destroysNothing(t, "a member's script", w.api(ben, "/"))
	if v := w.metric("lease_up"); v != "0" {
		t.Errorf("lease_up is %q", v)
	}
	begin := time.Now()
	a := w.scim(http.MethodPatch, "/Users/"+anaID, activeBody(false))
	if a.Status != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" {
		t.Errorf("SCIM while the database is down: %d %q: an IdP must be told to come back, never that it was done", a.Status, a.Header.Get("Retry-After"))
	}
	if ct := a.Header.Get("Content-Type"); !strings.HasPrefix(ct, "application/scim+json") {
		t.Errorf("SCIM error as %q", ct)
	}
	took := time.Since(begin)
	t.Log("SCIM took", took)
	if took > 10*time.Second {
		t.Errorf("the answer took %v", took)
	}
	pg.Start(t)
	eventually(t, "the old cookies work again", func() bool { return w.api(ben, "/").Status == http.StatusOK })
	// The refused change was not made in secret, and can be made now.
	if a := w.api(ana, "/"); a.Status != http.StatusOK {
		t.Errorf("the change that was answered with 503 took effect: %d", a.Status)
	}
	if a := w.scim(http.MethodPatch, "/Users/"+anaID, activeBody(false)); a.Status/100 != 2 {
		t.Errorf("the IdP's retry: %d %s", a.Status, a.Body)
	}
	if a := w.api(ana, "/"); a.Status != http.StatusUnauthorized {
		t.Errorf("after the retry: %d", a.Status)
	}
}

// blackHole is an address that takes no connection and refuses none: its queue
// is full, so a SYN is never answered.
func blackHole(t *testing.T) string {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "listener") // keeps the socket open until the test ends
	t.Cleanup(func() { _ = f.Close() })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	sa, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	addr := fmt.Sprintf("127.0.0.1:%d", sa.(*syscall.SockaddrInet4).Port)
	for range 8 {
		c, err := net.DialTimeout("tcp", addr, 200*time.Millisecond)
		if err != nil {
			return addr // full
		}
		t.Cleanup(func() { _ = c.Close() })
	}
	t.Fatal("the queue of the listener is never full")
	return ""
}

// Fault 12: the application is down; the gateway says so fast, and its own
// pages go on.
func TestApplicationDownIsSaidWithinThreeSeconds(t *testing.T) {
	t.Parallel() // it mostly waits
	refusing := func(t *testing.T) string {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		return l.Addr().String()
	}
	for _, down := range []struct {
		how  string
		addr func(*testing.T) string
	}{{"nothing listens", refusing}, {"packets vanish", blackHole}} {
		t.Run(down.how, func(t *testing.T) {
			addr := down.addr(t)
			w := start(t, func(o *run.DemoOptions) { o.Upstream = "http://" + addr })
			v := demo.NewVisitor()
			if _, err := v.SignIn(t.Context(), w.Facts.App+"/", "SAML", w.ana()); err == nil {
				t.Fatal("the application answered: this test shows nothing")
			}
			for _, kind := range []struct {
				what string
				a    func() answer
				ct   string
			}{
				{"page", func() answer { return w.get(v, w.Facts.App+"/") }, "text/html"},
				{"script", func() answer { return w.api(v, "/") }, "application/problem+json"},
			} {
				if down.how == "packets vanish" && kind.what == "script" {
					continue // it waits just as long
				}
				begin := time.Now() // 3 s to dial; the rest is for a busy machine
				a := kind.a()
				if took := time.Since(begin); took > 5*time.Second {
					t.Errorf("%s: %v until the answer", kind.what, took)
				}
				if a.Status != http.StatusBadGateway || !strings.HasPrefix(a.Header.Get("Content-Type"), kind.ct) {
					t.Errorf("%s: %d %s", kind.what, a.Status, a.Header.Get("Content-Type"))
				}
				if strings.Contains(a.Body, addr) {
					t.Errorf("%s names the upstream: %s", kind.what, a.Body)
				}
				if len(a.Header.Values("Set-Cookie")) > 0 {
					t.Errorf("%s touches cookies", kind.what)
				}
			}
			if a := w.get(v, w.Facts.Gateway+"/me"); a.Status != http.StatusOK {
				t.Errorf("/me: %d", a.Status)
			}
			var who struct {
				UserName string `json:"user_name"`
			}
			if a := w.api(v, "/.sso/whoami"); a.Status != http.StatusOK || json.Unmarshal([]byte(a.Body), &who) != nil || who.UserName == "" {
				t.Errorf("whoami: %d %s", a.Status, a.Body)
			}
			if a := w.get(nil, w.Facts.Private+"/readyz"); a.Status != http.StatusOK {
				t.Errorf("readyz: %d: another node would be no better off", a.Status)
			}
		})
	}
}

func jsonInto(body string, v any) error { return json.Unmarshal([]byte(body), v) }

// flush empties a Redis.
func flush(t *testing.T, url string) {
	t.Helper()
	o, err := goredis.ParseURL(url)
	if err != nil {
		t.Fatal(err)
	}
	c := goredis.NewClient(o)
	defer c.Close()
	if err := c.FlushAll(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
}
