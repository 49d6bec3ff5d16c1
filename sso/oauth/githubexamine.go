package oauth

import (
	"context"
	"strings"

	"github.com/ssogate/ssogate/sso"
)

// Examine implements sso.Examiner. Verify decides and spends the code; each question
// of its own is put once more with the token, so that a person who is in none of the
// organisations is also told that his address is not verified.
func (a *gitHubAnswer) Examine(ctx context.Context, l sso.Login) (out sso.Examination) {
	g := a.g
	token := ""
	got, err := a.verify(ctx, l, func(access string) { token = access })
	x := &examination{}
	x.ask("in_response_to", a.matches(l, parties{g.cfg.ID, g.base, g.redirect}, g.now()), "state is that of this sign-in")
	if token != "" {
		x.pass("token", "the code was exchanged")
		g.examine(ctx, x, token)
	}
	if err == nil {
		x.pass("status", "GitHub signed the person in")
		x.pass("attribute:subject", "%s", got.Identity.Subject)
		x.pass("attribute:user_name", "%s", printable(got.Profile.UserName, 100))
	}
	out.Checks = x.checks
	if err != nil {
		out.Checks = refused(err, x.checks)
	} else if sso.Passed(x.checks) {
		out.Assertion = got
	}
	return out
}

func (g *GitHub) examine(ctx context.Context, x *examination, token string) {
	ctx, cancel := context.WithTimeout(ctx, g.timeout)
	defer cancel()
	p, err := g.user(ctx, token)
	x.ask("name_id", err, "the numeric id is %d, the user name %s", p.ID, printable(p.Login, 100))
	if err != nil {
		return
	}
	email, err := g.email(ctx, token)
	x.ask("attribute:email", err, "the primary, verified address is %s", printable(email, 254))
	teams, err := g.belongs(ctx, token, p.Login)
	wanted := append(append([]string(nil), g.cfg.GitHub.Organizations...), g.cfg.GitHub.Teams...)
	if len(wanted) == 0 {
		x.add("organization", sso.Warn, "no organisation is asked for: every account of GitHub may sign in, as far as join lets it")
		return
	}
	x.ask("organization", err, "an active member of one of %s", strings.Join(wanted, ", "))
	if err == nil {
		x.pass("groups", "%d: %s", len(teams), strings.Join(teams, ", "))
	}
}

// Inspect implements sso.Inspector: whether the API answers this host.
func (g *GitHub) Inspect(ctx context.Context) []sso.Check {
	ctx, cancel := context.WithTimeout(ctx, g.timeout)
	defer cancel()
	x := &examination{}
	var any map[string]any
	err := g.get(ctx, "api", "/meta", "", &any)
	switch {
	case err == nil, isDenied(err): // an Enterprise Server in private mode wants a token
		x.pass("endpoint", "%s answered", g.api)
	default:
		x.add("endpoint", sso.Fail, "%s", err)
	}
	return x.checks
}

// Interface guards.
var (
	_ sso.Examiner  = (*gitHubAnswer)(nil)
	_ sso.Inspector = (*GitHub)(nil)
)
