package proxy

import (
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/proxy/canonical"
	"github.com/ssogate/ssogate/session"
)

// person is an admitted member for the rules to look at.
func person(change func(*session.Principal)) *session.Principal {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	p := &session.Principal{
		Member: member.Member{
			ID: member.NewID(), UserName: "Ana@Corp.example", Email: "ana@Corp.Example", Role: member.RoleMember,
			Wish: true, Accepted: true,
		},
		Teams: []string{"finance", "staff"}, Provider: "okta", Issued: now.Add(-time.Hour), AuthTime: now.Add(-time.Hour),
	}
	if change != nil {
		change(p)
	}
	return p
}

func policyFacts() facts {
	return facts{
		addr: netip.MustParseAddr("10.1.2.3"), now: func() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC) },
		owns: func(provider, domain string) bool { return provider == "okta" && domain == "corp.example" },
	}
}

func only(t *testing.T, access ...RuleSpec) *Route {
	t.Helper()
	r := compile(t, RouteSpec{Name: "app", Access: access})
	return r.sites["a.example"].paths.routes[""]
}

func read(t *testing.T, method, target string) canonical.Request {
	t.Helper()
	q, err := canonical.ParseTarget(target)
	if err != nil {
		t.Fatal(err)
	}
	q.Method = method
	return q
}

func TestARuleIsMetOnlyByEveryConditionOfIt(t *testing.T) {
	id := member.NewID()
	for _, c := range []struct {
		why    string
		rule   RuleSpec
		change func(*session.Principal)
		want   string // reason; "" = admitted
	}{
		{"no list: any member", RuleSpec{}, nil, ""},
		{"one of the teams is enough", RuleSpec{Teams: []string{"ops", "finance"}}, nil, ""},
		{"none of the teams", RuleSpec{Teams: []string{"ops"}}, nil, "team_missing"},
		{"slugs are whole words", RuleSpec{Teams: []string{"fin"}}, nil, "team_missing"},
		{"team and role are both needed", RuleSpec{Teams: []string{"finance"}, Roles: []member.Role{member.RoleOwner}}, nil, "role_missing"},
		{"team and role are both there", RuleSpec{Teams: []string{"finance"}, Roles: []member.Role{member.RoleOwner}}, func(p *session.Principal) { p.Member.Role = member.RoleOwner }, ""},
		{"a role says nothing about a team", RuleSpec{Teams: []string{"ops"}}, func(p *session.Principal) { p.Member.Role = member.RoleOwner }, "team_missing"},
		{"named by user name, in another case", RuleSpec{Members: []string{"ana@corp.EXAMPLE"}}, nil, ""},
		{"named by id", RuleSpec{Members: []string{string(id)}}, func(p *session.Principal) { p.Member.ID = id }, ""},
		{"an id taken as a user name is not that id", RuleSpec{Members: []string{string(id)}}, func(p *session.Principal) { p.Member.UserName = string(id) }, "member_not_named"},
		{"named by an address that is not the user name", RuleSpec{Members: []string{"ana@other.example"}}, func(p *session.Principal) { p.Member.Email = "ana@other.example" }, "member_not_named"},
		{"domain that the provider owns", RuleSpec{EmailDomains: []string{"corp.example"}}, nil, ""},
		{"the same address through another provider", RuleSpec{EmailDomains: []string{"corp.example"}}, func(p *session.Principal) { p.Provider = "github" }, "email_domain"},
		{"sub-domain", RuleSpec{EmailDomains: []string{"corp.example"}}, func(p *session.Principal) { p.Member.Email = "a@x.corp.example" }, "email_domain"},
		{"two at signs (O15)", RuleSpec{EmailDomains: []string{"corp.example"}}, func(p *session.Principal) { p.Member.Email = "a@corp.example@evil.example" }, "email_domain"},
		{"two at signs, ours last", RuleSpec{EmailDomains: []string{"corp.example"}}, func(p *session.Principal) { p.Member.Email = "a@evil.example@corp.example" }, "email_domain"},
		{"no address", RuleSpec{EmailDomains: []string{"corp.example"}}, func(p *session.Principal) { p.Member.Email = "" }, "email_domain"},
		{"provider", RuleSpec{Providers: []string{"okta"}}, nil, ""},
		{"other provider", RuleSpec{Providers: []string{"entra"}}, nil, "provider"},
		{"young enough", RuleSpec{MaxAge: 2 * time.Hour}, nil, ""},
		{"too old", RuleSpec{MaxAge: 30 * time.Minute}, nil, reasonTooOld},
		{"new session on old credentials", RuleSpec{MaxAge: 30 * time.Minute}, func(p *session.Principal) { p.Issued = policyFacts().now() }, reasonTooOld},
		{"provider that does not say", RuleSpec{MaxAge: 2 * time.Hour}, func(p *session.Principal) { p.AuthTime = time.Time{} }, reasonTooOld},
		{"too old does not hide a missing team", RuleSpec{MaxAge: 30 * time.Minute, Teams: []string{"ops"}}, nil, "team_missing"},
		{"network", RuleSpec{Addresses: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}}, nil, ""},
		{"other network", RuleSpec{Addresses: []netip.Prefix{netip.MustParsePrefix("10.2.0.0/16")}}, nil, "address"},
		{"deactivated", RuleSpec{}, func(p *session.Principal) { p.Member.Wish = false }, "member_inactive"},
	} {
		c.rule.Allow = AllowMembers
		d := only(t, c.rule).decide(read(t, "GET", "/x"), person(c.change), policyFacts())
		if got := d.Reason; got != c.want || (d.Verdict == Admit) != (c.want == "") {
			t.Errorf("%s: %q %q, want %q", c.why, d.Verdict, got, c.want)
		}
	}
}

func TestTheFirstRuleThatMatchesDecidesAlone(t *testing.T) {
	rt := only(t,
		RuleSpec{Name: "health", Paths: []string{"/health"}, Methods: []string{"GET"}, Allow: AllowPublic},
		RuleSpec{Name: "closed", Paths: []string{"/internal/*"}},
		RuleSpec{Name: "admin", Paths: []string{"/admin/*"}, Allow: AllowMembers, Teams: []string{"ops"}},
		RuleSpec{Name: "write", Methods: []string{"POST"}, Allow: AllowMembers, Teams: []string{"finance"}},
		RuleSpec{Name: "read", Methods: []string{"GET"}, Allow: AllowMembers},
	)
	for _, c := range []struct{ why, method, target, verdict, rule string }{
		{"public", "GET", "/health", "public", "app: health"},
		{"GET means HEAD too", "HEAD", "/health", "public", "app: health"},
		{"public for its methods only", "POST", "/health", "admit", "app: write"},
		{"nobody", "GET", "/internal/x", "", "app: closed"},
		{"refused there, not asked later", "GET", "/admin/x", "", "app: admin"},
		{"the folder itself belongs to the rule", "GET", "/admin", "", "app: admin"},
		{"folder with a slash", "GET", "/admin/", "", "app: admin"},
		{"near match is another path", "GET", "/administrators", "admit", "app: read"},
		{"a server that folds case would serve /admin", "GET", "/Admin/x", "", "app: admin"},
		{"trailing dot", "GET", "/admin./x", "", "app: admin"},
		{"full-width letter", "GET", "/%EF%BD%81dmin/x", "", "app: admin"},
		{"a public path in another case is not public (P03)", "GET", "/HEALTH", "admit", "app: read"},
		{"by method", "POST", "/x", "admit", "app: write"},
		{"no rule for it", "DELETE", "/x", "", "app: no rule"},
		{"the query is not the path (P02)", "GET", "/x?/health", "admit", "app: read"},
	} {
		d := rt.decide(read(t, c.method, c.target), person(nil), policyFacts())
		if string(d.Verdict) != c.verdict || d.Rule != c.rule {
			t.Errorf("%s: %s %s is %q by %q, want %q by %q", c.why, c.method, c.target, d.Verdict, d.Rule, c.verdict, c.rule)
		}
		if d, _ := rt.before(read(t, c.method, c.target), policyFacts()); d.Verdict == Public && c.verdict != "public" {
			t.Errorf("%s: %s %s is open to everybody", c.why, c.method, c.target)
		}
	}
}

func TestP01SpellingsNeverOpenMoreThanTheRuleNames(t *testing.T) {
	rt := only(t,
		RuleSpec{Paths: []string{"/open/*", "/favicon.ico"}, Allow: AllowPublic},
		RuleSpec{Allow: AllowMembers},
	)
	if d, _ := rt.before(read(t, "GET", "/open/logo.png"), facts{}); d.Verdict != Public {
		t.Fatalf("benign: %v", d)
	}
	for _, target := range []string{
		"/open", "/openx", "/Open/x", "/OPEN/x", "/open./x", "/open%20/x", "/favicon.ico/", "/FAVICON.ico", "/favicon.ico%20", "/x/open/y",
		"/x?/open/y", "/%EF%BD%8Fpen/x",
	} {
		if d, _ := rt.before(read(t, "GET", target), facts{}); d.Verdict == Public {
			t.Errorf("%s is open", target)
		}
	}
}

func TestAWildcardIsOneLabelAndANamedHostWins(t *testing.T) {
	r := compile(t,
		RouteSpec{Name: "tenants", Origins: []string{"https://*.apps.example:8443"}},
		RouteSpec{Name: "special", Origins: []string{"https://special.apps.example:8443"}},
	)
	for _, c := range []struct{ host, want string }{
		{"a.apps.example:8443", "tenants"},
		{"special.apps.example:8443", "special"},
		{"apps.example:8443", "no site"},
		{"a.b.apps.example:8443", "no site"},
		{"a.apps.example", "no site"},
		{".apps.example:8443", "no site"},
		{"aapps.example:8443", "no site"},
	} {
		if got := found(t, r, c.host, "/"); got != c.want {
			t.Errorf("%s goes to %s, want %s", c.host, got, c.want)
		}
	}
	if st := r.at("a.apps.example:8443"); st.origin != "https://a.apps.example:8443" || st.host != "a.apps.example:8443" {
		t.Errorf("the site of a wildcard is of the host that was asked for: %+v", st)
	}
	for origin, want := range map[string]bool{
		"https://b.apps.example:8443": true, "http://b.apps.example:8443": false, "https://apps.example:8443": false, "https://b.c.apps.example:8443": false, "nonsense": false,
	} {
		if r.OwnsOrigin(origin) != want {
			t.Errorf("owns %s: %t", origin, !want)
		}
	}
}

// stepUp is a gate with one page that asks for fresh credentials.
func stepUp(t *testing.T) *rig {
	r := newRig(t)
	table, err := Compile([]RouteSpec{{
		Name: "app", Origins: []string{"https://" + appHost}, Upstream: r.up.URL,
		Access: []RuleSpec{{Paths: []string{"/pay/*"}, Allow: AllowMembers, MaxAge: 10 * time.Minute}, {Allow: AllowMembers}},
	}}, "https://sso.example.com")
	if err != nil {
		t.Fatal(err)
	}
	r.gate.SetRoutes(table)
	r.sessions.change(func() {
		old := *r.sessions.by["ana"]
		old.AuthTime = time.Now().Add(-time.Hour)
		fresh := old
		fresh.AuthTime = time.Now()
		r.sessions.by["old"], r.sessions.by["fresh"] = &old, &fresh
	})
	return r
}

func TestAPageThatWantsFreshCredentialsAsksForThemAndNothingElse(t *testing.T) {
	r := stepUp(t)
	if res := r.get("/pay/1", as("fresh"), navigate); res.StatusCode != 200 {
		t.Fatalf("benign: %d", res.StatusCode)
	}
	if res := r.get("/other", as("old"), navigate); res.StatusCode != 200 {
		t.Errorf("a page without max_age: %d", res.StatusCode)
	}
	r.app.reset()
	res := r.get("/pay/1?x=2", as("old"), navigate)
	if res.StatusCode != http.StatusFound || len(r.signIn.fresh) != 1 || !r.signIn.fresh[0] || r.signIn.returns[0] != "https://app.example.com/pay/1?x=2" {
		t.Errorf("page load: %d, fresh %v, return %v", res.StatusCode, r.signIn.fresh, r.signIn.returns)
	}
	res = r.get("/pay/1", as("old"))
	if res.StatusCode != 401 || !strings.Contains(res.Header.Get("WWW-Authenticate"), "insufficient_user_authentication") {
		t.Errorf("program: %d %q", res.StatusCode, res.Header.Get("WWW-Authenticate"))
	}
	res = r.get("/pay/1", navigate)
	if res.StatusCode != http.StatusFound || r.signIn.fresh[1] {
		t.Errorf("without a session: %d, fresh %v: who signs in now shows credentials anyway, or is asked next", res.StatusCode, r.signIn.fresh)
	}
	r.none("nobody passed")
}

func TestAMethodThatTheRouteDoesNotTakeIs405(t *testing.T) {
	r := newRig(t)
	table, err := Compile([]RouteSpec{{
		Name: "app", Origins: []string{"https://" + appHost}, Upstream: r.up.URL, Methods: []string{"GET"}, Public: []string{"/*"},
	}}, "https://sso.example.com")
	if err != nil {
		t.Fatal(err)
	}
	r.gate.SetRoutes(table)
	if res := r.get("/x"); res.StatusCode != 200 {
		t.Fatalf("benign: %d", res.StatusCode)
	}
	r.app.reset()
	res := r.raw("DELETE /x HTTP/1.1\r\nHost: " + appHost + "\r\n\r\n")
	if res.StatusCode != http.StatusMethodNotAllowed || res.Header.Get("Allow") != "GET, HEAD" {
		t.Errorf("%d, Allow %q", res.StatusCode, res.Header.Get("Allow"))
	}
	r.none("the route does not take it")
}
