package oauth

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/sso"
)

// Limits of what is asked of the API in one sign-in.
const (
	gitHubPage      = 100 // the most that a page may have
	maxGitHubTeams  = 10  // pages of teams
	maxGitHubEmails = 3   // pages of addresses
	gitHubVersion   = "2022-11-28"
)

// gitHubPerson is what the API says of whoever a token belongs to.
type gitHubPerson struct {
	ID        int64  `json:"id"`
	Login     string `json:"login"`
	Name      string `json:"name"`
	Type      string `json:"type"`
	Suspended string `json:"suspended_at"` // Enterprise Server

	email string
	teams []string // "org/team" in lower case, of the configured organisations only
}

func (p gitHubPerson) identity(g *GitHub) member.Identity {
	return member.Identity{Provider: g.cfg.ID, Issuer: g.base, Subject: strconv.FormatInt(p.ID, 10)}
}

func (p gitHubPerson) profile() member.Profile {
	out := member.Profile{UserName: p.Login, Email: p.email, DisplayName: strings.TrimSpace(p.Name)}
	if out.DisplayName == "" {
		out.DisplayName = p.Login
	}
	return out
}

// person asks who the token belongs to and whether he may sign in. Errors are
// *sso.VerifyError (refused) or *UnavailableError (could not tell).
func (g *GitHub) person(ctx context.Context, token string) (gitHubPerson, error) {
	p, err := g.user(ctx, token)
	if err != nil {
		return p, err
	}
	if p.email, err = g.email(ctx, token); err != nil {
		return p, err
	}
	p.teams, err = g.belongs(ctx, token, p.Login)
	return p, err
}

func (g *GitHub) user(ctx context.Context, token string) (gitHubPerson, error) {
	var p gitHubPerson
	err := g.get(ctx, "user", "/user", token, &p)
	switch {
	case isDenied(err):
		return p, refuse("token_refused", err)
	case err != nil:
		return p, err
	case p.ID <= 0 || p.Type != "User" || !gitHubWord(p.Login):
		// A token can belong to an app or an organisation; those are nobody.
		return p, refuse("subject", fmt.Errorf("id %d is a %q", p.ID, printable(p.Type, 20)))
	case p.Suspended != "":
		return p, refuse("suspended", errors.New("the account is suspended"))
	}
	return p, nil
}

// gitHubWord reports a login or slug as GitHub makes them; it goes into URLs.
func gitHubWord(s string) bool {
	return s != "" && len(s) <= 100 && s != "." && s != ".." &&
		strings.Trim(strings.ToLower(s), "abcdefghijklmnopqrstuvwxyz0123456789-_.") == ""
}

// email is the primary address, if GitHub has verified it. A verified secondary
// one is not taken instead: people keep old employers' there (row O14).
func (g *GitHub) email(ctx context.Context, token string) (string, error) {
	type address struct {
		Email    string `json:"email"`
		Primary  bool   `json:"primary"`
		Verified bool   `json:"verified"`
	}
	found := ""
	_, err := pages(maxGitHubEmails, func(page int) ([]address, error) {
		var list []address
		err := g.get(ctx, "emails", "/user/emails?"+query(page), token, &list)
		return list, err
	}, func(a address) error {
		if !a.Primary {
			return nil
		}
		if !a.Verified || found != "" {
			return refuse("email_unverified", errors.New("the primary address is not verified"))
		}
		found = a.Email
		return nil
	})
	switch {
	case isDenied(err):
		return "", refuse("scope", err)
	case err != nil:
		return "", err
	case found == "":
		return "", refuse("email_unverified", errors.New("there is no primary address"))
	case !sso.PlainAddress(found):
		return "", refuse("claims", errors.New("the e-mail address is not a plain one"))
	}
	return found, nil
}

func query(page int) string {
	return "per_page=" + strconv.Itoa(gitHubPage) + "&page=" + strconv.Itoa(page)
}

// pages reads a list to its end. whole is false when there was more than limit pages.
func pages[T any](limit int, get func(page int) ([]T, error), each func(T) error) (whole bool, err error) {
	for page := 1; page <= limit; page++ {
		list, err := get(page)
		if err != nil {
			return false, err
		}
		for _, v := range list {
			if err := each(v); err != nil {
				return false, err
			}
		}
		if len(list) < gitHubPage {
			return true, nil
		}
	}
	return false, nil
}

// belongs checks organisations and teams, and answers the teams of the person in
// the configured organisations. Active membership of any configured organisation
// or team is enough; one that is pending is none: whoever may invite could let
// himself in with an account of his.
func (g *GitHub) belongs(ctx context.Context, token, login string) ([]string, error) {
	cfg := g.cfg.GitHub
	if len(cfg.Organizations) == 0 && len(cfg.Teams) == 0 {
		return nil, nil
	}
	var why error
	active := map[string]bool{}
	for _, org := range g.organizations() {
		ok, err := g.active(ctx, token, "/user/memberships/orgs/"+url.PathEscape(org))
		if err != nil && !isRefusal(err) {
			return nil, err
		}
		if err != nil {
			why = err
		}
		active[strings.ToLower(org)] = ok
	}
	teams, err := g.teams(ctx, token, active)
	if err != nil {
		return nil, err
	}
	admitted := slices.ContainsFunc(cfg.Organizations, func(o string) bool { return active[strings.ToLower(o)] })
	for _, t := range cfg.Teams {
		org, team, _ := strings.Cut(t, "/")
		if admitted || !slices.Contains(teams, strings.ToLower(t)) {
			continue
		}
		if admitted, err = g.active(ctx, token, "/orgs/"+url.PathEscape(org)+"/teams/"+url.PathEscape(team)+"/memberships/"+url.PathEscape(login)); err != nil {
			return nil, err
		}
	}
	if !admitted {
		if why == nil {
			why = refuse("organization", errors.New("active in none of the organisations and teams that may sign in"))
		}
		return nil, why
	}
	return teams, nil
}

// organizations are those that are configured, also by their teams.
func (g *GitHub) organizations() []string {
	out := slices.Clone(g.cfg.GitHub.Organizations)
	for _, t := range g.cfg.GitHub.Teams {
		org, _, _ := strings.Cut(t, "/")
		if !slices.ContainsFunc(out, func(o string) bool { return strings.EqualFold(o, org) }) {
			out = append(out, org)
		}
	}
	return out
}

// active asks for one membership. Not being a member is false without an error.
func (g *GitHub) active(ctx context.Context, token, path string) (bool, error) {
	var m struct {
		State string `json:"state"`
	}
	err := g.get(ctx, "membership", path, token, &m)
	var e *apiError
	switch {
	case err == nil:
		return m.State == "active", nil
	case !errors.As(err, &e):
		return false, err
	case e.sso:
		return false, refuse("saml_sso_required", errors.New("the organisation wants its own SAML sign-in for this token (X-GitHub-SSO)"))
	case e.status == http.StatusForbidden:
		// Mostly "OAuth App access restrictions": an owner of the organisation must
		// approve the app. Whoever reads the log can do that; nothing else helps.
		return false, refuse("organization_blocked", errors.New("the organisation lets this OAuth App see nothing: an owner of it must approve the app"))
	}
	return false, nil // 404
}

// teams are those in the active organisations. Half a list would take teams away,
// so one that cannot be read to its end is an error.
func (g *GitHub) teams(ctx context.Context, token string, active map[string]bool) ([]string, error) {
	type team struct {
		Slug         string `json:"slug"`
		Organization struct {
			Login string `json:"login"`
		} `json:"organization"`
	}
	var out []string
	whole, err := pages(maxGitHubTeams, func(page int) ([]team, error) {
		var list []team
		err := g.get(ctx, "teams", "/user/teams?"+query(page), token, &list)
		return list, err
	}, func(t team) error {
		if active[strings.ToLower(t.Organization.Login)] && gitHubWord(t.Slug) {
			out = append(out, strings.ToLower(t.Organization.Login+"/"+t.Slug))
		}
		return nil
	})
	switch {
	case isDenied(err):
		return nil, refuse("scope", err)
	case err != nil:
		return nil, err
	case !whole:
		return nil, &UnavailableError{Step: "teams", Err: errTooLarge}
	}
	slices.Sort(out)
	return slices.Compact(out), nil
}

// apiError is an answer of the API that says no: 401, 403 and 404. Whatever else
// is not 200, a spent rate limit above all, is an *UnavailableError.
type apiError struct {
	step   string
	status int
	sso    bool // X-GitHub-SSO: required
	gone   bool // the account is suspended
}

func (e *apiError) Error() string {
	s := "oauth: github " + e.step + ": status " + strconv.Itoa(e.status)
	if e.gone {
		s += " (suspended)"
	}
	return s
}

func isDenied(err error) bool { _, ok := errors.AsType[*apiError](err); return ok }

// get asks the API. Errors are *apiError or *UnavailableError; neither carries a body.
func (g *GitHub) get(ctx context.Context, step, path, token string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, g.api+path, nil)
	if err != nil {
		return &UnavailableError{Step: step, Err: err}
	}
	req.Header.Set("Accept", "application/vnd.github+json")
	req.Header.Set("X-GitHub-Api-Version", gitHubVersion)
	req.Header.Set("User-Agent", "ssogate") // GitHub refuses requests without one
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := g.client.Do(req)
	if err != nil {
		return &UnavailableError{Step: step, Err: err}
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxDocument+1))
	switch {
	case err != nil:
		return &UnavailableError{Step: step, Err: fmt.Errorf("read: %w", err)}
	case len(body) > maxDocument:
		return &UnavailableError{Step: step, Err: errTooLarge}
	case resp.StatusCode == http.StatusOK:
		if err := json.Unmarshal(body, into); err != nil {
			return &UnavailableError{Step: step, Err: bounded(err)}
		}
		return nil
	}
	return g.said(step, resp, body)
}

// said sorts an answer other than 200. A spent rate limit is 403 or 429 and says
// nothing about the person.
func (g *GitHub) said(step string, resp *http.Response, body []byte) error {
	h := resp.Header
	limited := resp.StatusCode == http.StatusTooManyRequests || h.Get("X-RateLimit-Remaining") == "0" || h.Get("Retry-After") != ""
	switch {
	case limited:
		wait := retryAfter(h.Get("Retry-After"), g.now())
		if wait == 0 {
			if at, err := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64); err == nil {
				wait = max(time.Unix(at, 0).Sub(g.now()), 0)
			}
		}
		return &UnavailableError{Step: step, Status: resp.StatusCode, Code: "rate_limited", Err: &waitError{wait}}
	case resp.StatusCode == http.StatusUnauthorized, resp.StatusCode == http.StatusForbidden, resp.StatusCode == http.StatusNotFound:
		return &apiError{
			step: step, status: resp.StatusCode,
			sso:  strings.HasPrefix(strings.ToLower(h.Get("X-GitHub-SSO")), "required"),
			gone: resp.StatusCode == http.StatusForbidden && strings.Contains(strings.ToLower(string(body)), "suspended"),
		}
	}
	return &UnavailableError{Step: step, Status: resp.StatusCode}
}

// waitError carries how long GitHub wants to be left alone.
type waitError struct{ wait time.Duration }

func (e *waitError) Error() string { return "wait " + e.wait.String() }
