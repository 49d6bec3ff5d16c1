package oauth

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/oauth2"

	"github.com/ssogate/ssogate/settings"
)

// googleIssuer is Google's, and the only one whose claim hd means a Workspace.
const googleIssuer = "https://accounts.google.com"

// google reports the preset: what follows is Google's own and asked of nobody else.
func (p *Provider) google() bool { return p.cfg.Preset == settings.Google }

// googleParams are what Google wants said otherwise than OpenID does.
func (p *Provider) googleParams(force bool) []oauth2.AuthCodeOption {
	var opts []oauth2.AuthCodeOption
	// Only a wish that spares people the wrong account: who may come in is read from
	// the token (row O13).
	switch d := p.cfg.OIDC.HostedDomains; len(d) {
	case 0:
	case 1:
		opts = append(opts, oauth2.SetAuthURLParam("hd", d[0]))
	default:
		opts = append(opts, oauth2.SetAuthURLParam("hd", "*"))
	}
	var prompt []string
	if force {
		// Google knows no prompt=login and states no auth_time: its account picker is
		// the most that can be had.
		prompt = append(prompt, "select_account")
	}
	if p.cfg.OIDC.Recheck > 0 {
		// A refresh token comes by this parameter, not by a scope, and after the first
		// time only together with consent.
		opts = append(opts, oauth2.AccessTypeOffline)
		prompt = append(prompt, "consent")
	}
	if len(prompt) > 0 {
		opts = append(opts, oauth2.SetAuthURLParam("prompt", strings.Join(prompt, " ")))
	}
	return opts
}

// checkHostedDomain reads the organisation of an account from its ID token (row
// O13): the request's hd parameter can be taken out by the person, and the domain
// of an address proves nothing, for consumer accounts can be made with any.
func (p *Provider) checkHostedDomain(c claims) error {
	domains := p.cfg.OIDC.HostedDomains
	if len(domains) == 0 {
		return nil
	}
	hd, err := c.text("hd")
	switch {
	case err != nil:
		return refuse("hosted_domain", err)
	case hd == "":
		return refuse("hosted_domain", errors.New("the account belongs to no organisation (the token has no hd)"))
	case !slices.Contains(domains, strings.ToLower(hd)):
		return refuse("hosted_domain", fmt.Errorf("the account belongs to %q", printable(hd, 100)))
	case c.has("email") && !c.truth("email_verified"):
		// A Workspace vouches for the addresses of its people; one that does not is no
		// address of that organisation.
		return refuse("email_unverified", errors.New("email_verified is not true"))
	}
	return nil
}

// googleAPI is where Google's APIs are, and what may be the token endpoint of its
// service accounts. An issuer on this machine stands in for Google in tests, and
// for the APIs too; config lets no other issuer carry this preset.
func googleAPI(issuer string) (api, token string, err error) {
	if issuer == googleIssuer {
		return "https://admin.googleapis.com", "https://oauth2.googleapis.com/token", nil
	}
	u, err := url.Parse(issuer)
	if err != nil {
		return "", "", err
	}
	origin := u.Scheme + "://" + u.Host
	return origin, origin + "/token", nil
}
