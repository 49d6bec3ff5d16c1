package proxy

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ssogate/ssogate/session"
)

func TestAnExplanationSaysWhatTheGateWouldDo(t *testing.T) {
	r := compile(t,
		RouteSpec{Name: "app", Methods: []string{"GET", "POST"}, Access: []RuleSpec{
			{Name: "health", Paths: []string{"/health"}, Allow: AllowPublic},
			{Name: "money", Paths: []string{"/pay/*"}, Allow: AllowMembers, Teams: []string{"finance", "board"}, MaxAge: 10 * time.Minute},
			{Name: "office", Paths: []string{"/office/*"}, Allow: AllowMembers, Addresses: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}},
			{Allow: AllowMembers},
		}},
		RouteSpec{Name: "other", PathPrefix: "/other"},
	)
	ana := person(nil)
	for _, c := range []struct {
		method, host, target string
		who                  *session.Principal
		verdict              Verdict
		reason, words        string
	}{
		{"GET", "a.example", "/x", ana, Admit, "", "everything"},
		{"GET", "a.example", "/x", nil, NeedSession, "no_session", "a session is needed"},
		{"GET", "a.example", "/health", nil, Public, "", "everybody"},
		{"GET", "a.example", "/pay/1", ana, NeedSession, reasonTooOld, "too long ago"},
		{"GET", "a.example", "/pay/1", person(func(p *session.Principal) { p.Teams = nil }), Deny, "team_missing", "none of the teams"},
		{"GET", "a.example", "/office/1", ana, Deny, "address", "networks"},
		{"DELETE", "a.example", "/x", ana, NotHere, "method", "GET, POST, HEAD"},
		{"BREW", "a.example", "/x", ana, NotHere, "method", "GET, POST, HEAD"},
		{"TRACE", "a.example", "/x", ana, Malformed, "canonical: refused: method", "differently"},
		{"GET", "a.example", "/a;b", ana, Malformed, "canonical: refused: target_path_parameter", "does not allow it"},
		{"GET", "a.example", "/a/../b", ana, Malformed, "canonical: refused: target_dot_segment", "differently"},
		{"GET", "b.example", "/x", ana, NotHere, "unknown_host", "no route has"},
		{"GET", "a.example", "/Other", ana, NotHere, "near_route", "another spelling"},
		{"GET", "a.example", "/.sso/x", ana, NotHere, "reserved", "ssogate's own"},
	} {
		e := r.Explain(Question{
			Method: c.method, Host: c.host, Target: c.target, Principal: c.who,
			Address: policyFacts().addr, Now: policyFacts().now(), Owns: policyFacts().owns,
		})
		if e.Verdict != c.verdict || e.Reason != c.reason || !strings.Contains(e.Because, c.words) {
			t.Errorf("%s %s%s: %+v, want %q %q because %q", c.method, c.host, c.target, e, c.verdict, c.reason, c.words)
		}
	}
	e := r.Explain(Question{Method: "GET", Host: "a.example", Target: "/pay/1", Principal: ana, Now: policyFacts().now()})
	if got := strings.Join(e.Asked, "; "); got != "team finance or board; credentials shown in the last 10m0s" || e.Route != "app" {
		t.Errorf("route %q asks %q", e.Route, got)
	}
}
