package oauth

import (
	"slices"
	"testing"

	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso"
	"github.com/ssogate/ssogate/sso/ssotest"
)

func verdicts(checks []sso.Check, v sso.Verdict) (names []string) {
	for _, c := range checks {
		if c.Verdict == v && !slices.Contains(names, c.Name) {
			names = append(names, c.Name)
		}
	}
	slices.Sort(names)
	return names
}

// All that is wrong is named, not only the first; and Verify decides.
func TestGitHubIsExaminedFromEverySide(t *testing.T) {
	for _, tt := range []struct {
		name   string
		fails  []string
		change func(*ssotest.GitHubUser, *settings.Provider)
	}{
		{"benign", nil, func(*ssotest.GitHubUser, *settings.Provider) {}},
		{"address and organisation", []string{"attributes", "organization"}, func(u *ssotest.GitHubUser, _ *settings.Provider) {
			u.Emails, u.Orgs = nil, nil
		}},
		{"suspended", []string{"organization"}, func(u *ssotest.GitHubUser, _ *settings.Provider) { u.Suspended = true }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			u := octo()
			r := newHub(t, func(p *settings.Provider, _ *ssotest.GitHub) { tt.change(&u, p) })
			r.hub.Set(u)
			l, a := r.answer()
			x := a.(sso.Examiner).Examine(t.Context(), l)
			if got := verdicts(x.Checks, sso.Fail); !slices.Equal(got, tt.fails) {
				t.Errorf("failed %q, want %q: %+v", got, tt.fails, x.Checks)
			}
			if (x.Assertion.Identity.Subject != "") != (tt.fails == nil) {
				t.Errorf("%+v beside %q", x.Assertion.Identity, tt.fails)
			}
			_, err := r.signIn()
			if (err == nil) != (tt.fails == nil) {
				t.Errorf("Verify says %v, the examination %q", err, tt.fails)
			}
		})
	}
}

func TestGitHubIsInspectedWithoutABrowser(t *testing.T) {
	r := newHub(t, nil)
	if got := r.p.Inspect(t.Context()); len(verdicts(got, sso.Pass)) != 1 {
		t.Errorf("%+v", got)
	}
}
