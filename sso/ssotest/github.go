package ssotest

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"

	"github.com/ssogate/ssogate/internal/secret"
)

// GitHubUser is an account as GitHub's API shows it.
type GitHubUser struct {
	ID        int64
	Login     string
	Name      string
	Type      string // default "User"
	Suspended bool
	Emails    []GitHubEmail
	Orgs      map[string]string // login -> state, "active" or "pending"
	Teams     map[string]string // org/slug -> state
}

// GitHubEmail is one address of an account.
type GitHubEmail struct {
	Email    string `json:"email"`
	Primary  bool   `json:"primary"`
	Verified bool   `json:"verified"`
}

// GitHub is a GitHub Enterprise Server in process: the authorization code flow of
// an OAuth App with PKCE, and the part of the REST API that tells who somebody
// is. Whoever opens the authorization page is signed in as the chosen account at
// once. It is an http.Handler, safe for concurrent use; change accounts by Set.
type GitHub struct {
	ClientID, ClientSecret, RedirectURI string
	Scopes                              string // granted; default what was asked for
	// Serve looks at every request first; true = answered. Set it before serving.
	Serve func(w http.ResponseWriter, r *http.Request) bool

	mu     sync.Mutex
	users  map[int64]GitHubUser
	chosen int64
	codes  map[string]gitHubCode
	tokens map[string]int64
	calls  map[string]int
	asked  []url.Values // authorization requests
}

type gitHubCode struct {
	user      int64
	challenge string
	scope     string
}

// Set adds or replaces an account.
func (g *GitHub) Set(u GitHubUser) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.users == nil {
		g.users, g.codes, g.tokens, g.calls = map[int64]GitHubUser{}, map[string]gitHubCode{}, map[string]int64{}, map[string]int{}
	}
	g.users[u.ID] = u
}

// Choose is the account that whoever comes next is signed in as.
func (g *GitHub) Choose(id int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.chosen = id
}

// Revoke makes every token of an account void.
func (g *GitHub) Revoke(id int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for t, u := range g.tokens {
		if u == id {
			delete(g.tokens, t)
		}
	}
}

// Asked are the authorization requests so far.
func (g *GitHub) Asked() []url.Values {
	g.mu.Lock()
	defer g.mu.Unlock()
	return append([]url.Values(nil), g.asked...)
}

// Calls is how often a path was asked for.
func (g *GitHub) Calls(path string) int {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.calls[path]
}

// ServeHTTP implements http.Handler.
func (g *GitHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	if g.calls != nil {
		g.calls[r.URL.Path]++
	}
	g.mu.Unlock()
	if g.Serve != nil && g.Serve(w, r) {
		return
	}
	switch r.URL.Path {
	case "/login/oauth/authorize":
		g.authorize(w, r)
	case "/login/oauth/access_token":
		g.token(w, r)
	default:
		path, ok := strings.CutPrefix(r.URL.Path, "/api/v3")
		if !ok {
			http.NotFound(w, r)
			return
		}
		g.api(w, r, path)
	}
}

func (g *GitHub) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.asked = append(g.asked, q)
	if q.Get("client_id") != g.ClientID || q.Get("redirect_uri") != g.RedirectURI || q.Get("code_challenge_method") != "S256" {
		http.Error(w, "The redirect_uri is not associated with this application.", http.StatusBadRequest)
		return
	}
	code := secret.NewToken()
	g.codes[code] = gitHubCode{g.chosen, q.Get("code_challenge"), q.Get("scope")}
	http.Redirect(w, r, g.RedirectURI+"?"+url.Values{"code": {code}, "state": {q.Get("state")}}.Encode(), http.StatusFound)
}

// token answers as GitHub does: errors too come with status 200.
func (g *GitHub) token(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	answer := func(v url.Values) {
		w.Header().Set("Content-Type", "application/x-www-form-urlencoded; charset=utf-8")
		_, _ = fmt.Fprint(w, v.Encode())
	}
	_ = r.ParseForm()
	sum := sha256.Sum256([]byte(r.PostForm.Get("code_verifier")))
	c, ok := g.codes[r.PostForm.Get("code")]
	delete(g.codes, r.PostForm.Get("code"))
	switch {
	case r.PostForm.Get("client_id") != g.ClientID || r.PostForm.Get("client_secret") != g.ClientSecret:
		answer(url.Values{"error": {"incorrect_client_credentials"}})
	case !ok || base64.RawURLEncoding.EncodeToString(sum[:]) != c.challenge:
		answer(url.Values{"error": {"bad_verification_code"}, "error_description": {"The code passed is incorrect or expired."}})
	default:
		token := "gho_" + secret.NewToken()
		g.tokens[token] = c.user
		scope := g.Scopes
		if scope == "" {
			scope = strings.ReplaceAll(c.scope, " ", ",")
		}
		answer(url.Values{"access_token": {token}, "token_type": {"bearer"}, "scope": {scope}})
	}
}

func (g *GitHub) api(w http.ResponseWriter, r *http.Request, path string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	bearer, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	id, ok := g.tokens[bearer]
	u := g.users[id]
	switch {
	case r.Header.Get("User-Agent") == "":
		gitHubSays(w, http.StatusForbidden, "Request forbidden by administrative rules.")
		return
	case !ok:
		gitHubSays(w, http.StatusUnauthorized, "Bad credentials")
		return
	case u.Suspended && path != "/user":
		gitHubSays(w, http.StatusForbidden, "Sorry. Your account was suspended.")
		return
	}
	org, isOrg := strings.CutPrefix(path, "/user/memberships/orgs/")
	rest, isTeam := strings.CutPrefix(path, "/orgs/")
	switch {
	case path == "/user":
		kind := u.Type
		if kind == "" {
			kind = "User"
		}
		m := map[string]any{"id": u.ID, "login": u.Login, "name": u.Name, "type": kind, "email": nil}
		if u.Suspended {
			m["suspended_at"] = "2026-01-02T03:04:05Z"
		}
		writeGitHub(w, m)
	case path == "/user/emails":
		writeGitHub(w, gitHubPageOf(u.Emails, r))
	case path == "/user/teams":
		var list []map[string]any
		for _, t := range slices.Sorted(maps.Keys(u.Teams)) {
			o, slug, _ := strings.Cut(t, "/")
			list = append(list, map[string]any{"slug": slug, "organization": map[string]any{"login": o}})
		}
		writeGitHub(w, gitHubPageOf(list, r))
	case isOrg:
		gitHubState(w, u.Orgs, org)
	case isTeam:
		// orgs/{org}/teams/{slug}/memberships/{login}
		p := strings.Split(rest, "/")
		if len(p) != 5 || !strings.EqualFold(p[4], u.Login) {
			gitHubSays(w, http.StatusNotFound, "Not Found")
			return
		}
		gitHubState(w, u.Teams, p[0]+"/"+p[2])
	default:
		gitHubSays(w, http.StatusNotFound, "Not Found")
	}
}

// gitHubState answers a membership; names are compared without case, as GitHub does.
func gitHubState(w http.ResponseWriter, states map[string]string, name string) {
	for k, state := range states {
		if strings.EqualFold(k, name) {
			writeGitHub(w, map[string]any{"state": state, "role": "member"})
			return
		}
	}
	gitHubSays(w, http.StatusNotFound, "Not Found")
}

func gitHubPageOf[T any](list []T, r *http.Request) []T {
	per, _ := strconv.Atoi(r.URL.Query().Get("per_page"))
	page, _ := strconv.Atoi(r.URL.Query().Get("page"))
	per, page = max(per, 1), max(page, 1)
	from := min((page-1)*per, len(list))
	out := list[from:min(from+per, len(list))]
	if out == nil {
		out = []T{}
	}
	return out
}

func gitHubSays(w http.ResponseWriter, status int, message string) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": message})
}

func writeGitHub(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	_ = json.NewEncoder(w).Encode(v)
}
