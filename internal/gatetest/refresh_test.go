package gatetest

import (
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/internal/demo"
	"github.com/ssogate/ssogate/sso/ssotest"
)

const refreshEvery = 15 * time.Minute

// refreshing makes the OpenID provider be asked again. Other changes come after it.
func refreshing(more ...func(*config.Config)) func(*run.DemoOptions) {
	return func(o *run.DemoOptions) {
		o.Adjust = func(c *config.Config) {
			c.Providers[1].Recheck = refreshEvery
			for _, f := range more {
				f(c)
			}
		}
	}
}

// byOpenID is a visitor who has signed in through the OpenID provider.
func (w *world) byOpenID(p ssotest.Person) *demo.Visitor {
	w.t.Helper()
	v := demo.NewVisitor()
	if _, err := v.SignIn(w.t.Context(), w.Facts.App+"/", "OpenID", p); err != nil {
		w.t.Fatal(err)
	}
	return v
}

func (w *world) refreshes(outcome string) int {
	w.t.Helper()
	n, _ := strconv.Atoi(w.metric(`token_refresh_total{outcome="` + outcome + `",provider="` + run.DemoOIDC + `"}`))
	return n
}

// Fault 9: somebody removed at a provider without SCIM is out at the next question,
// with everything he has open; nobody else notices.
func TestGuaranteeAskedAgainPersonDisabledAtTheProviderIsOut(t *testing.T) {
	engines(t, func(t *testing.T, with func(*run.DemoOptions)) {
		w := start(t, with, refreshing())
		ana, ben, cy := w.signedIn(w.ana()), w.byOpenID(w.ben()), w.byOpenID(w.person(2))
		benWS, cyWS := w.socket(ben), w.socket(cy)

		w.clock.Advance(refreshEvery)
		eventually(t, "both are confirmed", func() bool { return w.refreshes("ok") == 2 })
		if a := w.api(ben, "/"); a.Status != http.StatusOK {
			t.Fatalf("confirmed: %d", a.Status)
		}
		stays(t, benWS)

		w.OP.SetActive(w.ben().User, false)
		w.clock.Advance(refreshEvery)
		if err := closedWith(benWS, websocket.StatusPolicyViolation); err != nil {
			t.Errorf("his WebSocket: %v", err)
		}
		eventually(t, "he is refused", func() bool { return w.refreshes("refused") == 1 })
		if a := w.api(ben, "/"); a.Status != http.StatusUnauthorized {
			t.Errorf("his next request: %d, want 401", a.Status)
		}
		eventually(t, "she is confirmed again", func() bool { return w.refreshes("ok") == 3 })
		stays(t, cyWS)
		for who, v := range map[string]*demo.Visitor{"the other OpenID session": cy, "the SAML session": ana} {
			if a := w.api(v, "/"); a.Status != http.StatusOK {
				t.Errorf("%s: %d", who, a.Status)
			}
		}
		w.clock.Advance(refreshEvery)
		eventually(t, "nobody asks about him again", func() bool { return w.refreshes("ok") == 4 })
		if n := w.refreshes("refused"); n != 1 {
			t.Errorf("asked %d times about an ended session", n)
		}
	})
}

// Fault 9: a provider that is down, whatever that looks like, changes nothing.
func TestFault9ProviderDownChangesNothing(t *testing.T) {
	w := start(t, refreshing())
	ben := w.byOpenID(w.ben())
	ws := w.socket(ben)
	for _, down := range []struct {
		how, outcome string
		hooks        ssotest.OPHooks
	}{
		{"503", "unavailable", ssotest.OPHooks{Refresh: ssotest.FailRefresh(http.StatusServiceUnavailable, "temporarily_unavailable")}},
		{"a page", "malformed", ssotest.OPHooks{Refresh: ssotest.HTMLRefresh}},
		{"429", "rate_limited", ssotest.OPHooks{Refresh: ssotest.LimitRefresh(time.Minute)}},
		{"our registration is gone", "client", ssotest.OPHooks{Refresh: ssotest.FailRefresh(http.StatusUnauthorized, "invalid_client")}},
		{"every connection breaks", "network", ssotest.OPHooks{Serve: func(http.ResponseWriter, *http.Request) bool { panic(http.ErrAbortHandler) }}},
	} {
		w.OP.SetHooks(down.hooks)
		w.clock.Advance(refreshEvery)
		eventually(t, down.how+" is counted", func() bool { return w.refreshes(down.outcome) > 0 })
		if a := w.api(ben, "/"); a.Status != http.StatusOK {
			t.Fatalf("%s: his next request: %d", down.how, a.Status)
		}
		stays(t, ws)
	}
	w.OP.SetHooks(ssotest.OPHooks{})
	w.clock.Advance(refreshEvery)
	eventually(t, "it is back", func() bool { return w.refreshes("ok") > 0 })
	if n := w.refreshes("refused"); n != 0 {
		t.Errorf("%d refusals", n)
	}
	stays(t, ws)
}

func TestFault9AnotherSubjectEndsTheSession(t *testing.T) {
	w := start(t, refreshing())
	ben := w.byOpenID(w.ben())
	ws := w.socket(ben)
	w.OP.SetHooks(ssotest.OPHooks{RefreshClaims: func(c map[string]any) { c["sub"] = w.OP.Sub(w.ana().User) }})
	w.clock.Advance(refreshEvery)
	if err := closedWith(ws, websocket.StatusPolicyViolation); err != nil {
		t.Errorf("his WebSocket: %v", err)
	}
	if a := w.api(ben, "/"); a.Status != http.StatusUnauthorized || w.refreshes("mismatch") != 1 {
		t.Errorf("his next request: %d, %d counted", a.Status, w.refreshes("mismatch"))
	}
}

// A provider that gives no refresh token: people sign in, and the operator is told.
func TestFault9ProviderWithoutRefreshTokensIsSaid(t *testing.T) {
	w := start(t, refreshing())
	w.OP.SetHooks(ssotest.OPHooks{Discovery: func(doc map[string]any) { doc["scopes_supported"] = []string{"openid"} }})
	ben := w.byOpenID(w.ben())
	if a := w.api(ben, "/"); a.Status != http.StatusOK {
		t.Fatalf("sign-in: %d", a.Status)
	}
	if w.refreshes("no_token") != 1 || !strings.Contains(w.log.String(), "gives no refresh token") {
		t.Errorf("%d counted", w.refreshes("no_token"))
	}
}

// Row L01: refresh tokens are in no log, metric or audit event, and nowhere in the
// database as they are; what was done with one is in the audit log.
func TestL01RefreshTokensAreNeverWrittenDown(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "ssogate.db")
	w := start(t, refreshing(func(c *config.Config) { c.Database.URL = "sqlite:" + path }))
	var mu sync.Mutex
	var tokens []string
	w.OP.SetHooks(ssotest.OPHooks{TokenResponse: func(body map[string]any) {
		mu.Lock()
		defer mu.Unlock()
		if s, ok := body["refresh_token"].(string); ok {
			tokens = append(tokens, s)
		}
	}})
	ben := w.byOpenID(w.ben())
	w.clock.Advance(refreshEvery)
	eventually(t, "confirmed", func() bool { return w.refreshes("ok") == 1 })
	w.OP.SetActive(w.ben().User, false)
	w.clock.Advance(refreshEvery)
	eventually(t, "out", func() bool { return w.api(ben, "/").Status == http.StatusUnauthorized })
	audit := strings.Join(auditText(t, path), "\n")
	if !strings.Contains(audit, "session.ended |") || !strings.Contains(audit, "refresh:"+run.DemoOIDC) || !strings.Contains(audit, "refresh_refused") {
		t.Errorf("not audited:\n%s", audit)
	}
	places := map[string]string{"the log": w.log.String(), "the metrics": w.get(nil, w.Facts.Private+"/metrics").Body}
	for _, name := range []string{path, path + "-wal"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		places[filepath.Base(name)] = string(b)
	}
	mu.Lock()
	defer mu.Unlock()
	if len(tokens) != 2 {
		t.Fatalf("%d tokens were given, want two: this shows nothing", len(tokens))
	}
	for place, text := range places {
		for _, token := range tokens {
			if strings.Contains(text, token) {
				t.Errorf("L01: a refresh token is in %s", place)
			}
		}
	}
}
