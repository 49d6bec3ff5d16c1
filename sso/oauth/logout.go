package oauth

import (
	"context"
	"errors"
	"fmt"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4/json"

	"github.com/ssogate/ssogate/sso"
)

// LogoutDone is where a provider sends browsers back after a logout that began here:
// to be registered there as post_logout_redirect_uri, behind the gateway's origin.
const LogoutDone = "/logout/done"

const (
	maxLogoutBody = 64 << 10
	// logoutWindow is how long a logout token is good where it has no exp: the
	// specification made exp mandatory only in its final version.
	logoutWindow = 2 * time.Minute
	logoutEvent  = "http://schemas.openid.net/event/backchannel-logout"
)

// BeginSignOut implements sso.FrontLogout: OpenID Connect RP-Initiated Logout 1.0.
func (p *Provider) BeginSignOut(ctx context.Context, s sso.SignOut, id string) (sso.Start, bool, error) {
	ctx, cancel := context.WithTimeout(ctx, p.timeout)
	defer cancel()
	m, err := p.disc.get(ctx)
	if err != nil {
		return sso.Start{}, false, err
	}
	if m.EndSession == "" {
		return sso.Start{}, false, nil
	}
	u, err := url.Parse(m.EndSession)
	if err != nil { // discovery has checked it
		return sso.Start{}, false, &UnavailableError{Step: "discovery", Err: err}
	}
	q := u.Query()
	q.Set("client_id", p.cfg.OIDC.ClientID)
	q.Set("post_logout_redirect_uri", strings.TrimSuffix(p.redirect, "/oauth/"+p.cfg.ID+"/callback")+LogoutDone)
	q.Set("state", id)
	if len(s.Hint) > 0 {
		q.Set("id_token_hint", string(s.Hint))
	}
	u.RawQuery = q.Encode()
	return sso.Start{URL: u.String()}, true, nil
}

// ReceiveLogoutToken implements sso.BackLogout: OpenID Connect Back-Channel Logout
// 1.0, sections 2.4 to 2.6. The request has no credentials: the token is everything.
func (p *Provider) ReceiveLogoutToken(w http.ResponseWriter, r *http.Request) (sso.LogoutToken, error) {
	if !p.cfg.Active {
		return sso.LogoutToken{}, refuse("provider_disabled", errors.New("not active"))
	}
	raw, err := readLogoutToken(w, r)
	if err != nil {
		return sso.LogoutToken{}, err
	}
	ctx, cancel := context.WithTimeout(r.Context(), p.timeout)
	defer cancel()
	m, err := p.disc.get(ctx)
	if err != nil {
		return sso.LogoutToken{}, err
	}
	_, payload, err := checkSignature(ctx, m.keys, raw, "logout+jwt")
	if err != nil {
		return sso.LogoutToken{}, err
	}
	c, err := parseClaims(payload)
	if err != nil {
		return sso.LogoutToken{}, refuse("malformed", bounded(err))
	}
	return p.checkLogoutToken(c, m)
}

func readLogoutToken(w http.ResponseWriter, r *http.Request) (string, error) {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/x-www-form-urlencoded" {
		return "", refuse("malformed", errors.New("not a form"))
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxLogoutBody))
	if err != nil {
		return "", refuse("malformed", errors.New("body cannot be read or is too large"))
	}
	form, err := url.ParseQuery(string(body))
	if err != nil || len(form) > maxParams || len(form["logout_token"]) != 1 {
		return "", refuse("malformed", errors.New("want one logout_token"))
	}
	raw := form.Get("logout_token")
	if raw == "" || len(raw) > maxToken {
		return "", refuse("malformed", errors.New("logout_token is empty or too large"))
	}
	return raw, nil
}

// checkLogoutToken is section 2.6. What tells a logout token from an ID token is the
// event and that it has no nonce: otherwise whoever sees an ID token could sign its
// person out, and an ID token stolen here could be used there.
func (p *Provider) checkLogoutToken(c claims, m *metadata) (sso.LogoutToken, error) {
	if err := p.checkParties(c, m); err != nil {
		return sso.LogoutToken{}, err
	}
	if _, there := c["nonce"]; there {
		return sso.LogoutToken{}, refuse("nonce", errors.New("a logout token has none: this is an ID token"))
	}
	var events map[string]json.RawMessage
	if !c.has("events") || json.Unmarshal(c["events"], &events) != nil {
		return sso.LogoutToken{}, refuse("events", errors.New("missing or malformed"))
	}
	var event map[string]any
	if raw, ok := events[logoutEvent]; !ok || json.Unmarshal(raw, &event) != nil || event == nil {
		return sso.LogoutToken{}, refuse("events", errors.New("not the event of a back-channel logout"))
	}
	until, err := p.checkLogoutTimes(c)
	if err != nil {
		return sso.LogoutToken{}, err
	}
	jti, err1 := c.text("jti")
	sub, err2 := c.text("sub")
	sid, err3 := c.text("sid")
	if err := errors.Join(err1, err2, err3); err != nil {
		return sso.LogoutToken{}, refuse("malformed", err)
	}
	switch {
	case jti == "":
		return sso.LogoutToken{}, refuse("jti", errors.New("missing: a second use could not be told"))
	case sub == "" && sid == "":
		return sso.LogoutToken{}, refuse("subject", errors.New("neither sub nor sid"))
	}
	return sso.LogoutToken{ID: m.Issuer + "#" + jti, Person: sub, Index: sid, Until: until}, nil
}

// checkLogoutTimes answers until when the token could be presented again.
func (p *Provider) checkLogoutTimes(c claims) (time.Time, error) {
	now := p.now()
	exp, err1 := c.when("exp")
	iat, err2 := c.when("iat")
	if err := errors.Join(err1, err2); err != nil {
		return time.Time{}, refuse("time", err)
	}
	if iat.IsZero() || iat.After(now.Add(Skew)) {
		return time.Time{}, refuse("time", errors.New("iat is missing or ahead"))
	}
	if exp.IsZero() {
		exp = iat.Add(logoutWindow)
	}
	switch {
	case !now.Before(exp.Add(Skew)):
		return time.Time{}, refuse("time", fmt.Errorf("expired %s ago", now.Sub(exp).Round(time.Second)))
	case exp.After(now.Add(time.Hour)):
		// It would have to be remembered for as long.
		return time.Time{}, refuse("time", errors.New("good for more than an hour"))
	}
	return exp.Add(Skew), nil
}

// Interface guards.
var (
	_ sso.FrontLogout = (*Provider)(nil)
	_ sso.BackLogout  = (*Provider)(nil)
)
