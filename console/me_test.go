package console_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ssogate/ssogate/console"
	"github.com/ssogate/ssogate/internal/testserver"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso/local"
)

// known answers the same for every request.
type known struct {
	p       *session.Principal
	err     error
	list    []session.Record
	listErr error
	endErr  error
	calls   *[]string
	uses    []local.Use
}

func (k known) AdmitGateway(context.Context, *http.Request) (*session.Principal, error) {
	return k.p, k.err
}

func (k known) Sessions(context.Context, member.ID) ([]session.Record, error) {
	return k.list, k.listErr
}

func (k known) EndOne(_ context.Context, by member.Actor, id member.ID, handle, reason string) (session.Record, error) {
	k.did(fmt.Sprintf("one %s %s %s %s", by.Name, id, handle, reason))
	return session.Record{}, k.endErr
}

func (k known) EndAll(_ context.Context, by member.Actor, id member.ID, reason string) error {
	k.did(fmt.Sprintf("all %s %s %s", by.Name, id, reason))
	return k.endErr
}

func (k known) did(what string) {
	if k.calls != nil {
		*k.calls = append(*k.calls, what)
	}
}

func (k known) FallbackUses(context.Context) ([]local.Use, error) { return k.uses, k.listErr }

func (k known) AcknowledgeFallback(_ context.Context, id string, by member.Actor, _ time.Time) error {
	k.did(fmt.Sprintf("seen %s %s", by.Name, id))
	return k.endErr
}

var _ console.Sessions = (*session.Manager)(nil)

func handler(t *testing.T, k known, log *slog.Logger) http.Handler {
	t.Helper()
	live := &settings.Live{}
	live.Store(&settings.Settings{
		Organization: settings.Organization{Name: "Example Ltd", Support: "it@example.com"},
		Providers:    []settings.Provider{{ID: "okta", Name: "Okta <Example>"}},
	})
	c, err := console.New(console.Options{Sessions: k, Fallback: k, Live: live, Log: log})
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.Handle("/me", c.Me())
	mux.Handle("/me/", c.Me())
	mux.Handle("/static/", c.Static())
	return mux
}

func ana() *session.Principal {
	return &session.Principal{
		Member: member.Member{ID: "m1", UserName: "ana@example.com", DisplayName: `Ana <img src=x onerror=alert(1)>`, Email: "ana@example.com"},
		Teams:  []string{"finance", "keepers"}, Provider: "okta",
		Issued: time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC), Expires: time.Date(2026, 11, 25, 8, 0, 0, 0, time.UTC),
	}
}

func get(h http.Handler, method, path string) *httptest.ResponseRecorder {
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequest(method, path, nil))
	return w
}

func TestMeShowsWhoIsSignedIn(t *testing.T) {
	w := get(handler(t, known{p: ana()}, nil), "GET", "/me")
	if w.Code != 200 || w.Header().Get("Cache-Control") != "no-store" {
		t.Fatalf("status %d, headers %v", w.Code, w.Header())
	}
	for _, want := range []string{"ana@example.com", "Okta &lt;Example&gt;", "finance, keepers", "24 November 2026, 08:00 UTC", "Example Ltd", `method="post" action="/logout"`} {
		if !strings.Contains(w.Body.String(), want) {
			t.Errorf("page lacks %q", want)
		}
	}
	if strings.Contains(w.Body.String(), "<img") {
		t.Error("U02: a display name became markup")
	}
}

func TestMeWithoutASessionLeadsToTheSignIn(t *testing.T) {
	for name, k := range map[string]known{
		"no cookie": {err: session.ErrNoCookie}, "altered cookie": {err: session.ErrBadCookie}, "expired": {err: session.ErrExpired},
		"ended": {err: fmt.Errorf("wrapped: %w", session.ErrRevoked)}, "an answer with nobody in it": {},
	} {
		w := get(handler(t, k, nil), "GET", "/me")
		if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/login?return=%2Fme" || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("%s: %d to %q", name, w.Code, w.Header().Get("Location"))
		}
	}
}

func TestD02SwitchedOffMemberGetsAPageNotALoop(t *testing.T) {
	w := get(handler(t, known{err: session.ErrMember}, nil), "GET", "/me")
	if w.Code != http.StatusForbidden || w.Header().Get("Location") != "" || !strings.Contains(w.Body.String(), "it@example.com") {
		t.Errorf("status %d, location %q", w.Code, w.Header().Get("Location"))
	}
}

func TestMeWhileTheStoresAreDownDestroysNothing(t *testing.T) {
	var log bytes.Buffer
	w := get(handler(t, known{err: errors.New("redis: dial refused")}, slog.New(slog.NewTextHandler(&log, nil))), "GET", "/me")
	if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") != "5" {
		t.Errorf("status %d, headers %v", w.Code, w.Header())
	}
	if w.Header().Get("Set-Cookie") != "" || strings.Contains(w.Body.String(), "redis") {
		t.Error("G2: a cookie was touched or the cause shown")
	}
	if !strings.Contains(log.String(), "dial refused") {
		t.Error("the operator is not told why")
	}
}

func TestMeIsReadOnly(t *testing.T) {
	for _, method := range []string{"POST", "PUT", "DELETE"} {
		if w := get(handler(t, known{p: ana()}, nil), method, "/me"); w.Code != 405 || w.Header().Get("Allow") != "GET, HEAD" {
			t.Errorf("%s /me is %d", method, w.Code)
		}
	}
	if w := get(handler(t, known{p: ana()}, nil), "HEAD", "/me"); w.Code != 200 || w.Body.Len() != 0 {
		t.Errorf("HEAD /me is %d with %d bytes", w.Code, w.Body.Len())
	}
	if w := get(handler(t, known{}, nil), "GET", "/static/fragment.js"); w.Code != 200 {
		t.Errorf("script is %d", w.Code)
	}
}

func TestConsoleNeedsItsParts(t *testing.T) {
	if _, err := console.New(console.Options{}); err == nil {
		t.Error("a console without sessions was made")
	}
}

func TestMeInChromium(t *testing.T) {
	p := ana()
	p.Member.DisplayName = "Ana Moreau"
	srv := httptest.NewServer(handler(t, known{p: p, list: threeSessions(p)}, nil))
	defer srv.Close()
	testserver.Look(t, testserver.Browser(t), "me", srv.URL+"/me", "main")
}
