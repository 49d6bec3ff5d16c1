package proxy

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/proxy/canonical"
	"github.com/ssogate/ssogate/session"
)

func TestAdmittedRequestIsForwardedExactly(t *testing.T) {
	r := newRig(t)
	for _, target := range []string{"/", "/a/b/?x=1;y=2&z=%", "/caf%c3%a9/%7Ex?", "/a|b[c]", "/wiki/C%23?q=/../x"} {
		r.app.reset()
		res := r.get(target, as("ana"))
		if res.StatusCode != 200 || res.text != "app" {
			t.Fatalf("%s: %d %q", target, res.StatusCode, res.text)
		}
		if got := r.one().target; got != target {
			t.Errorf("the application saw %q, not the %q that was decided about (G3)", got, target)
		}
	}
}

func TestTeamsDecideByRoute(t *testing.T) {
	for _, c := range []struct {
		who, target string
		want        int
	}{
		{"ben", "/admin", 200},
		{"ben", "/admin/x", 200},
		{"ben", "/", 200},
		{"ana", "/", 200},
		{"ana", "/adminx", 200},
		{"ana", "/admin", 403},
		{"ana", "/admin/", 403},
		{"ana", "/admin/x?y", 403},
	} {
		r := newRig(t)
		res := r.get(c.target, as(c.who), navigate)
		if res.StatusCode != c.want {
			t.Errorf("%s on %s: %d, want %d", c.who, c.target, res.StatusCode, c.want)
		}
		if c.want == 403 {
			r.none("a refused request must not reach it")
			for _, need := range []string{"ana@example.com", "none of the teams", "/.sso/logout?again=1", "help@example.com"} {
				if !strings.Contains(res.text, need) {
					t.Errorf("the 403 page lacks %q: the person must see who they are, why, whom to ask, and how to change accounts", need)
				}
			}
			if got := r.events.reasons(); !slices.Equal(got, []string{"team_missing"}) {
				t.Errorf("audit has %v", got)
			}
		}
	}
}

func TestG2StoreFailureIs503AndDestroysNothing(t *testing.T) {
	r := newRig(t)
	for _, lines := range [][]string{{as("down"), navigate}, {as("down")}} {
		res := r.get("/", lines...)
		if res.StatusCode != 503 || res.Header.Get("Retry-After") != "5" {
			t.Errorf("%d Retry-After %q, want 503 and 5", res.StatusCode, res.Header.Get("Retry-After"))
		}
		if len(res.Header["Set-Cookie"]) != 0 || res.Header.Get("Location") != "" {
			t.Error("a store failure touched a cookie or sent the person to sign in: recovery must need neither")
		}
	}
	r.none("nobody knows who asked")
	if res := r.get("/public/x"); res.StatusCode != 200 {
		t.Errorf("public path needs no store: %d", res.StatusCode)
	}
}

func TestZeroValuesDeny(t *testing.T) {
	p, q := principal("x", ana), canonical.Request{Method: "GET", Path: "/", Match: "/"}
	fine := &Route{name: "x", rules: rules{list: []*rule{{RuleSpec: RuleSpec{Allow: AllowMembers}}}}}
	for name, d := range map[string]Decision{
		"zero decision":  {},
		"nil route":      (*Route)(nil).decide(q, p, facts{}),
		"zero route":     (&Route{}).decide(q, p, facts{}),
		"no rules":       (&Route{name: "x"}).decide(q, p, facts{}),
		"zero rule":      (&Route{name: "x", rules: rules{list: []*rule{{}}}}).decide(q, p, facts{}),
		"nil principal":  fine.decide(q, nil, facts{}),
		"zero principal": fine.decide(q, &session.Principal{}, facts{}),
	} {
		if d.Verdict == Admit || d.Verdict == Public {
			t.Errorf("%s admits", name)
		}
	}
	if d := fine.decide(q, p, facts{}); d.Verdict != Admit {
		t.Errorf("benign: %v", d)
	}
}

func TestMemberWhoMayNotPassGetsAPageAndNoLoop(t *testing.T) {
	r := newRig(t)
	res := r.get("/", as("inactive"), navigate)
	if res.StatusCode != 403 || res.Header.Get("Location") != "" {
		t.Errorf("D02: %d, location %q: signing in again as the same person would come back here", res.StatusCode, res.Header.Get("Location"))
	}
	r.none("not admitted")
}

func TestStaleAfterRegisteringIsAskedAgain(t *testing.T) {
	r := newRig(t)
	old := r.sessions.by["ana"]
	r.sessions.stale[old] = true
	if res := r.get("/", as("ana")); res.StatusCode != 503 {
		t.Errorf("C10: a principal that stays stale was answered %d, want 503", res.StatusCode)
	}
	r.none("its revocation may have ended it")
	if r.sessions.calls != 2 {
		t.Errorf("asked %d times, want 2", r.sessions.calls)
	}
	if r.inFlight() != 0 {
		t.Errorf("%d registrations left behind", r.inFlight())
	}
	r.sessions.change(func() { r.sessions.by["ana"] = principal("ana", ana) })
	if res := r.get("/", as("ana")); res.StatusCode != 200 {
		t.Errorf("fresh principal: %d", res.StatusCode)
	}
}

func TestPageLoadWithoutSessionGoesToSignIn(t *testing.T) {
	r := newRig(t)
	for _, token := range []string{"", "expired", "revoked", "forged"} {
		lines := []string{navigate}
		if token != "" {
			lines = append(lines, as(token))
		}
		res := r.get("/a?b=c", lines...)
		if res.StatusCode != 302 || res.Header.Get("Location") != "https://sso.example.com/login?id=1" || res.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%q: %d %v", token, res.StatusCode, res.Header)
		}
	}
	for _, got := range r.signIn.returns {
		if got != "https://app.example.com/a?b=c" {
			t.Errorf("would return to %q", got)
		}
	}
	r.none("no session")
	if got := r.events.reasons(); !slices.Equal(got, []string{"session_ended", "bad_cookie"}) {
		t.Errorf("audit has %v: being signed out is not news, a forged or ended session is", got)
	}
}

func TestD01SignInFloodIs429(t *testing.T) {
	r := newRig(t)
	r.signIn.err = errors.New("full")
	if res := r.get("/", navigate); res.StatusCode != 503 || res.Header.Get("Retry-After") == "" {
		t.Errorf("sign-in store down: %d", res.StatusCode)
	}
	r.signIn.tooMany = true
	if res := r.get("/", navigate); res.StatusCode != 429 || res.Header.Get("Retry-After") == "" {
		t.Errorf("budget used up: %d", res.StatusCode)
	}
	if res := r.get("/", as("ana"), navigate); res.StatusCode != 200 {
		t.Errorf("signed-in people are unaffected: %d", res.StatusCode)
	}
}

func TestReservedPrefixIsOurs(t *testing.T) {
	r := newRig(t)
	if res := r.get("/.sso/whoami?x"); res.text != "reserved /.sso/whoami" {
		t.Errorf("%d %q", res.StatusCode, res.text)
	}
	r.none("/.sso/ is never forwarded")
}

func TestAuditOfRefusalsIsBoundedAndCounted(t *testing.T) {
	r := newRig(t)
	for range 3 * denialsPerSecond {
		r.get("/admin", as("ana"))
	}
	got := len(r.events.reasons())
	if got > 2*denialsPerSecond+1 { // the loop may cross a second
		t.Errorf("%d events for %d refusals: whoever causes refusals must not fill the disk", got, 3*denialsPerSecond)
	}
	eventually(t, "the suppressed ones are counted", func() bool {
		r.events.mu.Lock()
		defer r.events.mu.Unlock()
		return slices.ContainsFunc(r.events.list, func(e audit.Event) bool { return e.Detail["more_of_this_reason"] != "" })
	})
}

func TestRefusalStandsWhenAuditFails(t *testing.T) {
	r := newRig(t)
	r.events.err = errors.New("disk full")
	if res := r.get("/admin", as("ana")); res.StatusCode != 403 {
		t.Errorf("L02: %d", res.StatusCode)
	}
}

func TestL01NoSecretReachesLogOrAudit(t *testing.T) {
	r := newRig(t)
	for _, target := range []string{"/?code=SECRETQUERY", "/admin?token=SECRETQUERY", "/a%2fb?SECRETQUERY", "/public/x?SECRETQUERY"} {
		r.get(target, as("ana"), "Authorization: Bearer SECRETBEARER", "Referer: https://app.example.com/?SECRETREFERER")
		r.get(target, as("SECRETCOOKIE"), navigate)
	}
	r.events.mu.Lock()
	defer r.events.mu.Unlock()
	for _, e := range r.events.list {
		for k, v := range e.Detail {
			if strings.Contains(v, "SECRET") {
				t.Errorf("audit detail %s holds %q", k, v)
			}
		}
	}
	if out := r.log.String(); strings.Contains(out, "SECRET") || !strings.Contains(out, "path=") {
		t.Errorf("log holds a secret, or nothing:\n%s", out)
	}
}

func TestT06LimitsOnNumbers(t *testing.T) {
	r := newRig(t)
	if res := r.get("/", as("ana"), "X-Long: "+strings.Repeat("a", 4000)); res.StatusCode != 200 {
		t.Errorf("benign: %d", res.StatusCode)
	}
	many := slices.Repeat([]string{"X-A: b"}, maxHeaderLines+1)
	r.app.reset()
	for name, res := range map[string]answerOf{
		"many headers": r.get("/", append(many, as("ana"))...),
		"many cookies": r.get("/", as("ana")+strings.Repeat("; a=b", 1000)),
		"long url":     r.get("/"+strings.Repeat("a", 64<<10), as("ana")),
	} {
		if res.StatusCode != 431 && res.StatusCode != 414 {
			t.Errorf("%s: %d", name, res.StatusCode)
		}
	}
	r.none("over a limit")
	if res := r.get("/", "X-Big: "+strings.Repeat("a", 2<<20)); res.StatusCode != http.StatusRequestHeaderFieldsTooLarge {
		t.Errorf("2 MB header: %d", res.StatusCode)
	}
}
