package proxy

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
)

// heldForms is a store that the test can look into and break.
type heldForms struct {
	mu   sync.Mutex
	held map[secret.Hash][]byte
	fail error
}

func (f *heldForms) Put(_ context.Context, id secret.Hash, v []byte, _ time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail == nil {
		f.held[id] = v
	}
	return f.fail
}

func (f *heldForms) Get(_ context.Context, id secret.Hash) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.fail != nil {
		return nil, f.fail
	}
	if v, ok := f.held[id]; ok {
		return v, nil
	}
	return nil, ErrNoForm
}

func (f *heldForms) Take(ctx context.Context, id secret.Hash) ([]byte, error) {
	v, err := f.Get(ctx, id)
	f.mu.Lock()
	defer f.mu.Unlock()
	if err == nil {
		delete(f.held, id)
	}
	return v, err
}

func (f *heldForms) len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.held)
}

// keeping is a rig whose first route keeps forms; Ana's session "old" ran out.
func keeping(t *testing.T, opts ...rigOption) (*rig, *heldForms, *clock.Manual) {
	t.Helper()
	held, m := &heldForms{held: map[secret.Hash][]byte{}}, &clock.Manual{}
	r := newRig(t, append(opts, func(c *rigConfig) {
		c.forms, c.now = held, m.Now
		c.specs = []RouteSpec{
			{Name: "app", Origins: []string{"https://" + appHost}, KeepForms: true},
			{Name: "plain", Origins: []string{"https://" + appHost}, PathPrefix: "/plain"},
			{Name: "team", Origins: []string{"https://" + appHost}, PathPrefix: "/team", Teams: []string{"finance"}, KeepForms: true},
		}
	})...)
	r.sessions.change(func() {
		r.sessions.past = map[string]member.ID{"old": "m-ana"}
		r.sessions.errs["old"] = session.ErrExpired
	})
	return r, held, m
}

const (
	ownOrigin  = "Origin: https://" + appHost
	urlencoded = "Content-Type: application/x-www-form-urlencoded"
)

// post sends a form as a browser does.
func (r *rig) post(target, body string, lines ...string) answerOf {
	r.t.Helper()
	return r.raw("POST " + target + " HTTP/1.1\r\nHost: " + appHost + "\r\nConnection: close\r\nContent-Length: " + strconv.Itoa(len(body)) + "\r\n" +
		strings.Join(lines, "\r\n") + "\r\n\r\n" + body)
}

// ticket is the cookie that came with the answer to a form that was kept, or "".
func (a answerOf) ticket() string {
	for _, c := range a.Cookies() {
		if c.Name == "__Host-ssogate-app-form" && c.Value != "" {
			return c.Name + "=" + c.Value
		}
	}
	return ""
}

var fieldValue = regexp.MustCompile(`name="ssogate-form" value="([0-9a-f]+)"`)

func TestFormThatMetAnExpiredSessionIsSentAfterSigningInAgain(t *testing.T) {
	r, held, _ := keeping(t)
	body := "name=Ad%C3%A9la&note=a+b&csrf=%2F%00"
	target := "/orders/new?x=1&y=%2F"
	res := r.post(target, body, as("old"), ownOrigin, navigate, urlencoded)
	if res.StatusCode != 401 || res.ticket() == "" || !strings.Contains(res.text, `href="/.sso/form"`) {
		t.Fatalf("kept: %d %v %s", res.StatusCode, res.Cookies(), res.text)
	}
	c := res.Cookies()[0]
	if !c.HttpOnly || !c.Secure || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.MaxAge <= 0 || c.MaxAge > 600 {
		t.Errorf("K04: cookie %+v", c)
	}
	for _, v := range held.held {
		if strings.Contains(string(v), "csrf") || strings.Contains(string(v), "old") {
			t.Error("the store can read the form, or a cookie")
		}
	}
	r.none("nobody is signed in")

	// Signing in leads back to the page.
	if res := r.get("/.sso/form", navigate, "Cookie: "+res.ticket()); res.StatusCode != 302 || r.signIn.returns[0] != "https://"+appHost+"/.sso/form" {
		t.Fatalf("to sign in: %d %v", res.StatusCode, r.signIn.returns)
	}
	cookies := as("ana") + "; " + res.ticket()
	page := r.get("/.sso/form", navigate, cookies)
	m := fieldValue.FindStringSubmatch(page.text)
	if page.StatusCode != 200 || m == nil || !strings.Contains(page.text, "/orders/new") || strings.Contains(page.text, "Ad") && strings.Contains(page.text, "csrf=") {
		t.Fatalf("page: %d %s", page.StatusCode, page.text)
	}
	if csp := page.Header.Get("Content-Security-Policy"); !strings.Contains(csp, "frame-ancestors 'none'") || strings.Contains(csp, "form-action") || page.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("U03: %q", csp)
	}
	r.none("the person has not said so yet")

	sent := r.post(target, formField+m[1], cookies, ownOrigin, navigate, urlencoded, "User-Agent: b")
	if sent.StatusCode != 200 {
		t.Fatalf("sent: %d %s", sent.StatusCode, sent.text)
	}
	got := r.one()
	if got.method != "POST" || got.target != target || got.body != body || got.header.Get("Content-Type") != "application/x-www-form-urlencoded" {
		t.Errorf("the application got %s %s %q %v", got.method, got.target, got.body, got.header)
	}
	if got.header.Get("X-Forwarded-User") != "m-ana" || strings.Contains(strings.Join(got.header["Cookie"], ""), "ssogate") {
		t.Errorf("identity: %v", got.header)
	}
	r.app.reset()
	for range 2 { // at most once
		if again := r.post(target, formField+m[1], cookies, ownOrigin, navigate, urlencoded); again.StatusCode != 410 {
			t.Errorf("again: %d", again.StatusCode)
		}
	}
	if page := r.get("/.sso/form", navigate, cookies); page.StatusCode != 410 {
		t.Errorf("afterwards: %d", page.StatusCode)
	}
	r.none("it was sent already")
}

// Anything missing, and nothing is kept: the page says that the form was not sent.
func TestFormsAreKeptOnlyUnderAllConditions(t *testing.T) {
	r, held, _ := keeping(t)
	type form struct {
		why, target, body string
		lines             []string
	}
	good := []string{as("old"), ownOrigin, navigate, urlencoded}
	without := func(line string, instead ...string) []string {
		var out []string
		for _, l := range good {
			if l != line {
				out = append(out, l)
			}
		}
		return append(out, instead...)
	}
	multipart := "Content-Type: multipart/form-data; boundary=x"
	for _, c := range []form{
		{"benign", "/x", "a=b", good},
		{"benign, a file", "/x?y", "--x--", without(urlencoded, multipart)},
		{"benign, the largest", "/x", strings.Repeat("a", maxForm), good},
	} {
		if res := r.post(c.target, c.body, c.lines...); res.StatusCode != 401 || res.ticket() == "" {
			t.Errorf("%s: %d, not kept", c.why, res.StatusCode)
		}
	}
	if held.len() != 1 {
		t.Errorf("%d forms of one session are kept", held.len())
	}
	clear(held.held)
	for _, c := range []form{
		{"the route does not", "/plain/x", "a=b", good},
		{"no cookie", "/x", "a=b", without(as("old"))},
		{"a cookie that was never ours", "/x", "a=b", without(as("old"), as("forged"))},
		{"revoked", "/x", "a=b", without(as("old"), as("revoked"))},
		{"deactivated", "/x", "a=b", without(as("old"), as("inactive"))},
		{"no origin", "/x", "a=b", without(ownOrigin)},
		{"another origin", "/x", "a=b", without(ownOrigin, "Origin: https://evil.example")},
		{"null origin", "/x", "a=b", without(ownOrigin, "Origin: null")},
		{"two origins", "/x", "a=b", append(without(""), ownOrigin)},
		{"no fetch metadata", "/x", "a=b", without(navigate, html)},
		{"a script", "/x", "a=b", without(navigate, "Sec-Fetch-Mode: cors")},
		{"json", "/x", "{}", without(urlencoded, "Content-Type: application/json")},
		{"text", "/x", "a=b", without(urlencoded, "Content-Type: text/plain")},
		{"no type", "/x", "a=b", without(urlencoded)},
		{"compressed", "/x", "a=b", without("", "Content-Encoding: gzip")},
		{"too large", "/x", strings.Repeat("a", maxForm+1), good},
		{"empty", "/x", "", good},
		{"a long address", "/x?" + strings.Repeat("a", maxFormTarget), "a=b", good},
		{"an address that no button can have", "/x?\"", "a=b", good},
	} {
		res := r.post(c.target, c.body, c.lines...)
		if res.StatusCode/100 != 4 || res.ticket() != "" || held.len() != 0 {
			t.Errorf("%s: %d, kept %d %v", c.why, res.StatusCode, held.len(), res.Cookies())
		}
	}
	r.none("nobody was signed in")
}

func TestKeptFormOpensForItsPersonOnly(t *testing.T) {
	r, held, m := keeping(t)
	send := func(target string) (ticket, id string) {
		res := r.post(target, "a=b", as("old"), ownOrigin, navigate, urlencoded)
		if ticket = res.ticket(); ticket == "" {
			t.Fatalf("not kept: %d", res.StatusCode)
		}
		tk, _ := parseTicket(strings.TrimPrefix(ticket, "__Host-ssogate-app-form="))
		return ticket, formField + tk.id.String()
	}
	for _, c := range []struct {
		why  string
		want int
		do   func(ticket, body string) answerOf
	}{
		{"another person looks", 403, func(ticket, _ string) answerOf { return r.get("/.sso/form", navigate, as("ben")+"; "+ticket) }},
		{"another person sends", 403, func(ticket, body string) answerOf {
			return r.post("/x", body, as("ben")+"; "+ticket, ownOrigin, navigate, urlencoded)
		}},
		{"another page makes the browser send", 403, func(ticket, body string) answerOf {
			return r.post("/x", body, as("ana")+"; "+ticket, "Origin: https://evil.example", navigate, urlencoded)
		}},
		{"no origin", 403, func(ticket, body string) answerOf {
			return r.post("/x", body, as("ana")+"; "+ticket, navigate, urlencoded)
		}},
		{"at another address", 403, func(ticket, body string) answerOf {
			return r.post("/y", body, as("ana")+"; "+ticket, ownOrigin, navigate, urlencoded)
		}},
		{"on another route", 403, func(ticket, body string) answerOf {
			return r.post("/team/x", body, as("ana")+"; "+ticket, ownOrigin, navigate, urlencoded)
		}},
		{"with a changed key", 403, func(ticket, body string) answerOf {
			last := ticket[len(ticket)-2]
			ticket = ticket[:len(ticket)-2] + map[bool]string{true: "B", false: "A"}[last == 'A'] + ticket[len(ticket)-1:]
			return r.post("/x", body, as("ana")+"; "+ticket, ownOrigin, navigate, urlencoded)
		}},
		{"signed out again", 401, func(ticket, body string) answerOf {
			return r.post("/x", body, as("old")+"; "+ticket, ownOrigin, navigate, urlencoded)
		}},
		{"the store is down", 503, func(ticket, body string) answerOf {
			held.fail = errors.New("down")
			defer func() { held.fail = nil }()
			return r.post("/x", body, as("ana")+"; "+ticket, ownOrigin, navigate, urlencoded)
		}},
		{"the session store is down", 503, func(ticket, body string) answerOf {
			return r.post("/x", body, as("down")+"; "+ticket, ownOrigin, navigate, urlencoded)
		}},
		{"ten minutes later", 403, func(ticket, body string) answerOf {
			m.Advance(formLife)
			return r.post("/x", body, as("ana")+"; "+ticket, ownOrigin, navigate, urlencoded)
		}},
	} {
		ticket, body := send("/x")
		if res := c.do(ticket, body); res.StatusCode != c.want {
			t.Errorf("%s: %d, want %d", c.why, res.StatusCode, c.want)
		}
	}
	r.none("none of these was the person's own word")

	// What the gate would not admit now is not sent either, and waits.
	ticket, body := send("/team/x")
	if res := r.post("/team/x", body, as("ana")+"; "+ticket, ownOrigin, navigate, urlencoded); res.StatusCode != 403 || held.len() != 1 {
		t.Errorf("no team: %d, %d kept", res.StatusCode, held.len())
	}
	// It can be thrown away, by a page of this origin.
	if res := r.post("/.sso/form", "", as("ana")+"; "+ticket, "Origin: https://evil.example", navigate); res.StatusCode != 403 || held.len() != 1 {
		t.Errorf("thrown away by another site: %d", res.StatusCode)
	}
	if res := r.post("/.sso/form", "", as("ana")+"; "+ticket, ownOrigin, navigate); res.StatusCode != 200 || held.len() != 0 {
		t.Errorf("thrown away: %d, %d kept", res.StatusCode, held.len())
	}
	r.none("it was thrown away")
}

// A form of the application that looks like ours, or is as long, is its own.
func TestOtherFormsReachTheApplicationUnchanged(t *testing.T) {
	r, _, _ := keeping(t)
	res := r.post("/x", "a=b", as("old"), ownOrigin, navigate, urlencoded)
	tk, _ := parseTicket(strings.TrimPrefix(res.ticket(), "__Host-ssogate-app-form="))
	want := formField + tk.id.String()
	for _, body := range []string{strings.Repeat("x", len(want)), want[:len(want)-1] + "!", want + "1", "", url.Values{"ssogate-form": {"x"}}.Encode()} {
		r.app.reset()
		res := r.post("/x", body, as("ana")+"; "+res.ticket(), ownOrigin, navigate, urlencoded)
		if res.StatusCode != 200 || r.one().body != body {
			t.Errorf("%q: %d, the application got %q", body, res.StatusCode, r.one().body)
		}
	}
}

func FuzzTicket(f *testing.F) {
	f.Add("")
	f.Add(strings.Repeat("A", 86))
	f.Fuzz(func(t *testing.T, s string) {
		if tk, ok := parseTicket(s); ok && tk.String() != s {
			t.Errorf("%q is read as %q", s, tk)
		}
	})
}

func FuzzKeptForm(f *testing.F) {
	var tk formTicket
	v, err := tk.seal(formHead{Member: "m"}, []byte("a=b"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(v)
	f.Fuzz(func(t *testing.T, b []byte) {
		if string(b) == string(v) {
			return
		}
		other := formTicket{key: [32]byte{1}}
		if _, _, err := other.open(b, principal("x", ana), time.Now()); err == nil {
			t.Error("a value that was never sealed with this key opens")
		}
	})
}
