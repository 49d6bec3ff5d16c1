package console_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/session"
)

// threeSessions are p's own and two others.
func threeSessions(p *session.Principal) []session.Record {
	p.Session = secret.Sum("this one")
	at := time.Date(2026, 11, 24, 8, 0, 0, 0, time.UTC)
	agents := []string{
		"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/126.0 Safari/537.36",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.0 Mobile/15E148 Safari/604.1",
		"<script>alert(1)</script>",
	}
	var out []session.Record
	for i, name := range []string{"this one", "phone", "other"} {
		out = append(out, session.Record{
			Hash: secret.Sum(name), Member: p.Member.ID, Provider: "okta", Issued: at, LastSeen: at.Add(time.Duration(i) * time.Hour),
			Expires: at.Add(24 * time.Hour), Address: "192.0.2.7", UserAgent: agents[i],
		})
	}
	return out
}

func post(h http.Handler, path, body string, header ...string) *httptest.ResponseRecorder {
	r := httptest.NewRequest("POST", path, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	return w
}

func TestMeListsSessionsAndEndsOthersOnly(t *testing.T) {
	p := ana()
	list := threeSessions(p)
	body := get(handler(t, known{p: p, list: list}, nil), "GET", "/me").Body.String()
	if strings.Count(body, `action="/me/sessions/end"`) != 2 || strings.Contains(body, `value="`+list[0].Handle()+`"`) {
		t.Error("exactly the two other sessions can be ended one by one")
	}
	for _, want := range []string{"this browser", list[1].Handle(), list[2].Handle(), "192.0.2.7", `action="/me/sessions/end-all"`} {
		if !strings.Contains(body, want) {
			t.Errorf("page lacks %q", want)
		}
	}
	if strings.Contains(body, "<script>alert") {
		t.Error("U02: a client's name for itself became markup")
	}
	// Benign twin: with one session there is nothing else to end.
	body = get(handler(t, known{p: p, list: list[:1]}, nil), "GET", "/me").Body.String()
	if strings.Contains(body, "/me/sessions/") {
		t.Error("a button without anything to do")
	}
}

func TestEndingSessionsNamesMemberAndReason(t *testing.T) {
	p := ana()
	list := threeSessions(p)
	var calls []string
	h := handler(t, known{p: p, list: list, calls: &calls}, nil)
	w := post(h, "/me/sessions/end", "session="+list[1].Handle())
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/me" || w.Header().Get("Cache-Control") != "no-store" {
		t.Errorf("end one: %d %v", w.Code, w.Header())
	}
	if w = post(h, "/me/sessions/end-all", ""); w.Code != http.StatusOK || !strings.Contains(w.Body.String(), "signed out everywhere") {
		t.Errorf("end all: %d", w.Code)
	}
	want := []string{"one member:m1 m1 " + list[1].Handle() + " own_page", "all member:m1 m1 own_page"}
	if !slices.Equal(calls, want) {
		t.Errorf("calls %q, want %q", calls, want)
	}
}

func TestASessionThatIsOverAlreadyIsEnded(t *testing.T) {
	w := post(handler(t, known{p: ana(), endErr: session.ErrNotFound}, nil), "/me/sessions/end", "session=0123456789abcdef")
	if w.Code != http.StatusSeeOther {
		t.Errorf("status %d", w.Code)
	}
}

func TestU01SessionsAreNotEndedFromElsewhere(t *testing.T) {
	for name, tc := range map[string]struct {
		header []string
		want   int
	}{
		"another site":                         {[]string{"Sec-Fetch-Site", "cross-site", "Origin", "https://evil.example"}, 403},
		"an application on a sub-domain":       {[]string{"Sec-Fetch-Site", "same-site", "Origin", "https://app.example.com"}, 403},
		"an old browser, a sandboxed frame":    {[]string{"Sec-Fetch-Site", "", "Origin", "null"}, 403},
		"a body that passes as plain text":     {[]string{"Sec-Fetch-Site", "cross-site", "Content-Type", "text/plain"}, 403},
		"benign: our own page":                 {nil, 200},
		"benign: our own page, an old browser": {[]string{"Sec-Fetch-Site", "", "Origin", "http://example.com"}, 200},
	} {
		var calls []string
		w := post(handler(t, known{p: ana(), calls: &calls}, nil), "/me/sessions/end-all", "", tc.header...)
		if w.Code != tc.want || (len(calls) == 1) != (tc.want == 200) {
			t.Errorf("%s: %d, calls %q", name, w.Code, calls)
		}
	}
}

func TestEndingSessionsRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		k          known
		path, body string
		want       int
	}{
		"nobody is signed in":      {known{err: session.ErrNoCookie}, "/me/sessions/end-all", "", 401},
		"a switched-off member":    {known{err: session.ErrMember}, "/me/sessions/end-all", "", 403},
		"stores are down":          {known{err: errors.New("down")}, "/me/sessions/end", "session=a", 503},
		"no session is named":      {known{p: ana()}, "/me/sessions/end", "", 400},
		"a name without end":       {known{p: ana()}, "/me/sessions/end", "session=" + strings.Repeat("a", 65), 400},
		"a body without end":       {known{p: ana()}, "/me/sessions/end", "x=" + strings.Repeat("a", 5000) + "&session=a", 400},
		"a name in the query only": {known{p: ana()}, "/me/sessions/end?session=a", "", 400},
		"no such page":             {known{p: ana()}, "/me/sessions", "", 404},
	} {
		var calls []string
		tc.k.calls = &calls
		w := post(handler(t, tc.k, nil), tc.path, tc.body)
		if w.Code != tc.want || len(calls) != 0 || w.Header().Get("Location") != "" {
			t.Errorf("%s: %d, want %d; calls %q", name, w.Code, tc.want, calls)
		}
	}
	if w := get(handler(t, known{p: ana()}, nil), "GET", "/me/sessions/end-all"); w.Code != 405 || w.Header().Get("Allow") != "POST" {
		t.Errorf("GET of a form's address is %d", w.Code)
	}
}

func TestAnEndThatIsNotConfirmedIsNotPraised(t *testing.T) {
	var log bytes.Buffer
	h := handler(t, known{p: ana(), endErr: errors.New("sql: gone")}, slog.New(slog.NewTextHandler(&log, nil)))
	for _, path := range []string{"/me/sessions/end", "/me/sessions/end-all"} {
		w := post(h, path, "session=a")
		if w.Code != 503 || w.Header().Get("Retry-After") == "" || strings.Contains(w.Body.String(), "sql") {
			t.Errorf("%s: %d", path, w.Code)
		}
	}
	if strings.Count(log.String(), "sql: gone") != 2 {
		t.Error("the operator is not told why")
	}
}

func TestMeWithoutTheSessionStoreStillSaysWhoIsSignedIn(t *testing.T) {
	w := get(handler(t, known{p: ana(), listErr: errors.New("redis: down")}, nil), "GET", "/me")
	if w.Code != 200 || !strings.Contains(w.Body.String(), "not available for a moment") || strings.Contains(w.Body.String(), "redis") {
		t.Errorf("status %d", w.Code)
	}
}
