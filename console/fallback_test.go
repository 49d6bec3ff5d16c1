package console_test

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
	"github.com/ssogate/ssogate/sso/local"
)

// owner is a principal of that role and provider.
func owner(role member.Role, provider string) *session.Principal {
	p := ana()
	p.Member.Role, p.Provider = role, provider
	return p
}

var once = []local.Use{{ID: "u1", UserName: "rescue <b>", At: time.Date(2026, 11, 24, 9, 0, 0, 0, time.UTC), Address: "192.0.2.9", Factor: "recovery_code"}}

func TestOwnersAreShownEveryUseOfTheBreakGlassWayIn(t *testing.T) {
	for name, tc := range map[string]struct {
		p             *session.Principal
		shown, button bool
	}{
		"an owner":                   {owner(member.RoleOwner, "okta"), true, true},
		"an owner, by a password":    {owner(member.RoleOwner, session.PasswordProvider), true, true},
		"the fallback owner himself": {owner(member.RoleOwner, session.FallbackProvider), true, false},
		"a manager":                  {owner(member.RoleManager, "okta"), false, false},
		"a member":                   {owner(member.RoleMember, "okta"), false, false},
		"somebody of no role at all": {owner("", "okta"), false, false},
	} {
		body := get(handler(t, known{p: tc.p, uses: once}, nil), "GET", "/me").Body.String()
		if strings.Contains(body, "rescue &lt;b&gt;") != tc.shown || strings.Contains(body, `value="u1"`) != tc.button {
			t.Errorf("%s: shown or offered wrongly", name)
		}
	}
	if strings.Contains(get(handler(t, known{p: owner(member.RoleOwner, "okta")}, nil), "GET", "/me").Body.String(), "Fallback owners") {
		t.Error("a list of nothing")
	}
}

func TestU04OnlyOwnersAcknowledgeAndNotByTheWayInThatItIsAbout(t *testing.T) {
	for name, tc := range map[string]struct {
		k    known
		body string
		want int
	}{
		"an owner":                   {known{p: owner(member.RoleOwner, "okta")}, "use=u1", 303},
		"another was faster":         {known{p: owner(member.RoleOwner, "okta"), endErr: member.ErrNotFound}, "use=u1", 303},
		"the fallback owner himself": {known{p: owner(member.RoleOwner, session.FallbackProvider)}, "use=u1", 403},
		"a manager":                  {known{p: owner(member.RoleManager, "okta")}, "use=u1", 403},
		"a member":                   {known{p: ana()}, "use=u1", 403},
		"nobody":                     {known{err: session.ErrNoCookie}, "use=u1", 401},
		"which?":                     {known{p: owner(member.RoleOwner, "okta")}, "", 400},
		"a name without end":         {known{p: owner(member.RoleOwner, "okta")}, "use=" + strings.Repeat("u", 65), 400},
		"the store is down":          {known{p: owner(member.RoleOwner, "okta"), endErr: errors.New("down")}, "use=u1", 503},
	} {
		var calls []string
		tc.k.calls = &calls
		w := post(handler(t, tc.k, nil), "/me/fallback/seen", tc.body)
		if asked := slices.Equal(calls, []string{"seen member:m1 u1"}); w.Code != tc.want || asked != (tc.want == 303 || tc.want == 503) {
			t.Errorf("%s: %d, want %d; calls %q", name, w.Code, tc.want, calls)
		}
	}
}

func TestAFallbackSessionDoesNotPromiseApplications(t *testing.T) {
	body := get(handler(t, known{p: owner(member.RoleOwner, session.FallbackProvider)}, nil), "GET", "/me").Body.String()
	if !strings.Contains(body, "password and one-time code") {
		t.Error("the page shows an id in the place of a name")
	}
	if !strings.Contains(body, "to no application") || strings.Contains(body, "can open the applications") {
		t.Error("the page says what is not so")
	}
}
