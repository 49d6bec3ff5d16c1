package oauth

import (
	"context"
	"errors"
	"net/http"
	"strings"

	"golang.org/x/oauth2"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/sso"
)

// What is kept to ask again: the access token of an OAuth App, which lives until it
// is revoked, or the refresh token of a GitHub App, whose access tokens last eight
// hours. A letter tells which.
const (
	keptAccess  = "a:"
	keptRefresh = "r:"
)

func keptGitHub(t *oauth2.Token) string {
	if t.RefreshToken != "" {
		return keptRefresh + t.RefreshToken
	}
	return keptAccess + t.AccessToken
}

// Refresh implements sso.Refresher. An access token is asked with as it is.
func (g *GitHub) Refresh(ctx context.Context, who member.Identity, token string) (sso.Refreshed, error) {
	if who.Provider != g.cfg.ID || who.Issuer != g.base {
		// The token belongs to the GitHub that gave it and is shown to no other.
		return nil, &sso.RefreshError{Outcome: "issuer_changed", Refused: true}
	}
	r := &gitHubRefreshed{g: g, who: who}
	if access, ok := strings.CutPrefix(token, keptAccess); ok {
		r.access = access
		return r, nil
	}
	kept, ok := strings.CutPrefix(token, keptRefresh)
	if !ok {
		return nil, &sso.RefreshError{Outcome: "malformed", Err: errors.New("oauth: not a token that was kept for GitHub")}
	}
	ctx, cancel := context.WithTimeout(ctx, g.timeout)
	defer cancel()
	t, err := g.oauth2().TokenSource(context.WithValue(ctx, oauth2.HTTPClient, g.client), &oauth2.Token{RefreshToken: kept}).Token()
	if err != nil {
		if re, ok := errors.AsType[*oauth2.RetrieveError](err); ok && re.ErrorCode == "bad_refresh_token" {
			return nil, &sso.RefreshError{Outcome: "refused", Refused: true, Err: errors.New("oauth: github does not accept the refresh token")}
		}
		return nil, refreshError(ctx, err, g.now())
	}
	r.access = t.AccessToken
	if t.RefreshToken != kept {
		if keepable(t.RefreshToken) == "" {
			return nil, &sso.RefreshError{Outcome: "malformed", Err: errors.New("the new refresh token is too long to keep")}
		}
		r.next = keptRefresh + t.RefreshToken
	}
	return r, nil
}

// gitHubRefreshed implements [sso.Refreshed].
type gitHubRefreshed struct {
	g      *GitHub
	who    member.Identity
	access string
	next   string
}

// Token implements sso.Refreshed.
func (r *gitHubRefreshed) Token() string { return r.next }

// Verify implements sso.Refreshed: the account must still exist, unsuspended, under
// the same id, and still belong. The address is not asked for again: it decides
// nothing about a session that exists.
func (r *gitHubRefreshed) Verify(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.g.timeout)
	defer cancel()
	p, err := r.g.user(ctx, r.access)
	if err == nil && p.identity(r.g) != r.who {
		return &sso.RefreshError{Outcome: "mismatch", Refused: true, Err: errors.New("the token is about somebody else")}
	}
	if err == nil {
		_, err = r.g.belongs(ctx, r.access, p.Login)
	}
	if err == nil {
		return nil
	}
	return gitHubRefreshError(ctx, err)
}

// gitHubRefreshError sorts why nothing was confirmed. Only GitHub's own word about
// this person ends a session: a revoked token, a lost organisation, a suspension.
func gitHubRefreshError(ctx context.Context, err error) *sso.RefreshError {
	if v, ok := errors.AsType[*sso.VerifyError](err); ok {
		api, denied := errors.AsType[*apiError](err)
		switch {
		case v.Reason == "organization", v.Reason == "suspended", v.Reason == "subject":
			return &sso.RefreshError{Outcome: "refused", Refused: true, Err: err}
		case denied && (api.status == http.StatusUnauthorized || api.gone):
			return &sso.RefreshError{Outcome: "refused", Refused: true, Err: err}
		}
		// The organisation closed itself to the app, or scopes changed: about the
		// registration, for everybody alike.
		return &sso.RefreshError{Outcome: "client", Err: err}
	}
	u, ok := errors.AsType[*UnavailableError](err)
	switch {
	case ok && u.Code == "rate_limited":
		e := &sso.RefreshError{Outcome: "rate_limited", Err: err}
		if w, ok := errors.AsType[*waitError](err); ok {
			e.RetryAfter = w.wait
		}
		return e
	case ok && u.Status != 0:
		return &sso.RefreshError{Outcome: "unavailable", Err: err}
	case ok && errors.Is(err, errTooLarge):
		return &sso.RefreshError{Outcome: "malformed", Err: err}
	}
	return &sso.RefreshError{Outcome: connection(ctx, err), Err: err}
}

func isRefusal(err error) bool { _, ok := errors.AsType[*sso.VerifyError](err); return ok }
