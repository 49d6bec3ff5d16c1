package ssotest

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

// opRequest is an authorization request whose client and redirect URI were
// checked. Anything else wrong with it may be told to the client by redirect.
type opRequest struct {
	raw         string // as received, carried through the form
	redirectURI string
	state       string
	nonce       string
	scopes      []string
	challenge   string
	prompt      []string
	maxAge      time.Duration // -1 = not asked for
	loginHint   string
}

// opRedirectError is an error the client is told (RFC 6749 section 4.1.2.1).
type opRedirectError struct{ code, description string }

func (e *opRedirectError) Error() string { return e.code + ": " + e.description }

// readRequest parses an authorization request. An error that is not an
// *opRedirectError must be shown to the person and never redirected: the
// redirect URI is not known to be the client's.
func (op *OP) readRequest(raw string) (opRequest, error) {
	v, err := url.ParseQuery(raw)
	if err != nil {
		return opRequest{}, fmt.Errorf("the request is malformed: %w", err)
	}
	for name, values := range v {
		if len(values) > 1 { // RFC 6749 section 3.1
			return opRequest{}, fmt.Errorf("parameter %q is repeated", name)
		}
	}
	if v.Get("client_id") != op.opts.ClientID {
		return opRequest{}, errors.New("this client is not registered here")
	}
	if !slices.Contains(op.opts.RedirectURIs, v.Get("redirect_uri")) {
		return opRequest{}, errors.New("this redirect URI is not registered for the client")
	}
	q := opRequest{
		raw: raw, redirectURI: v.Get("redirect_uri"), state: v.Get("state"), nonce: v.Get("nonce"), scopes: strings.Fields(v.Get("scope")),
		challenge: v.Get("code_challenge"), prompt: strings.Fields(v.Get("prompt")), maxAge: -1, loginHint: v.Get("login_hint"),
	}
	switch {
	case v.Get("response_type") != "code":
		return q, &opRedirectError{"unsupported_response_type", "only the code flow is supported"}
	case !slices.Contains(q.scopes, "openid"):
		return q, &opRedirectError{"invalid_scope", "openid is missing"}
	case v.Get("code_challenge_method") != "S256" || len(q.challenge) != 43:
		return q, &opRedirectError{"invalid_request", "PKCE with S256 is required"}
	case slices.Contains(q.prompt, "none") && len(q.prompt) > 1:
		return q, &opRedirectError{"invalid_request", "prompt none stands alone"}
	}
	if s := v.Get("max_age"); s != "" {
		n, err := strconv.ParseUint(s, 10, 31)
		if err != nil {
			return q, &opRedirectError{"invalid_request", "max_age is not a number of seconds"}
		}
		q.maxAge = time.Duration(n) * time.Second
	}
	return q, nil
}

// authorize answers the authorization endpoint: straight back with a code when
// this browser has a fresh enough session, otherwise the form.
func (op *OP) authorize(w http.ResponseWriter, r *http.Request) {
	raw := r.URL.RawQuery
	if r.Method == http.MethodPost { // OpenID Connect Core section 3.1.2.1: both methods
		if err := r.ParseForm(); err != nil {
			op.failPage(w, http.StatusBadRequest, "The request could not be read.")
			return
		}
		raw = r.PostForm.Encode()
	}
	q, err := op.readRequest(raw)
	if err != nil {
		op.refuse(w, r, q, err)
		return
	}
	s, ok := op.session(r)
	again := slices.Contains(q.prompt, "login") || slices.Contains(q.prompt, "select_account") ||
		(q.maxAge >= 0 && op.opts.Now().Sub(s.authTime) >= q.maxAge)
	switch {
	case ok && !again:
		op.goBack(w, r, q, s)
	case slices.Contains(q.prompt, "none"):
		op.refuse(w, r, q, &opRedirectError{"login_required", "nobody is signed in"})
	default:
		op.formPage(w, http.StatusOK, q, opForm{User: q.loginHint})
	}
}

// signIn takes the form. The authorization request travels in it and is read
// again from the start: nothing is remembered about browsers that never sign in.
func (op *OP) signIn(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		op.failPage(w, http.StatusBadRequest, "The form could not be read.")
		return
	}
	q, err := op.readRequest(r.PostForm.Get("request"))
	if err != nil {
		op.refuse(w, r, q, err)
		return
	}
	if r.PostForm.Get("cancel") != "" {
		op.refuse(w, r, q, &opRedirectError{"access_denied", "the person declined"})
		return
	}
	user := r.PostForm.Get("username")
	p, ok := FindPerson(op.opts.People, user)
	// The comparison runs for unknown users too, so that time does not tell them apart.
	same := subtle.ConstantTimeCompare([]byte(p.Password), []byte(r.PostForm.Get("password"))) == 1
	if !ok || !same {
		op.formPage(w, http.StatusUnauthorized, q, opForm{User: user, Error: "The user name or the password is wrong."})
		return
	}
	s := op.startSession(w, p)
	op.goBack(w, r, q, s)
}

// goBack sends the browser to the client with a code. 303 makes it a GET also
// after the form's POST.
func (op *OP) goBack(w http.ResponseWriter, r *http.Request, q opRequest, s opSession) {
	target, err := op.callbackURL(q, s)
	if err != nil {
		op.refuse(w, r, q, err)
		return
	}
	noStore(w)
	http.Redirect(w, r, target, http.StatusSeeOther)
}

func (op *OP) callbackURL(q opRequest, s opSession) (string, error) {
	now := op.opts.Now()
	code := newSecret()
	op.mu.Lock()
	if op.disabled[s.person.User] {
		op.mu.Unlock()
		return "", &opRedirectError{"access_denied", "the account is disabled"}
	}
	for c, g := range op.codes {
		if now.After(g.expires) {
			delete(op.codes, c)
		}
	}
	full := len(op.codes) >= opMaxRecords
	if !full {
		op.codes[code] = &opGrant{
			person: s.person, redirectURI: q.redirectURI, scopes: q.scopes, nonce: q.nonce, challenge: q.challenge,
			session: s.id, authTime: s.authTime, expires: now.Add(opCodeLifetime),
		}
	}
	op.mu.Unlock()
	if full {
		return "", &opRedirectError{"temporarily_unavailable", "too many sign-ins at once"}
	}
	return op.back(q, url.Values{"code": {code}}), nil
}

// back is the redirect URI with the answer's parameters, iss always among them
// (RFC 9207).
func (op *OP) back(q opRequest, v url.Values) string {
	if q.state != "" {
		v.Set("state", q.state)
	}
	v.Set("iss", op.opts.Issuer)
	if h := op.hook().Callback; h != nil {
		h(v)
	}
	sep := "?"
	if strings.Contains(q.redirectURI, "?") {
		sep = "&"
	}
	return q.redirectURI + sep + v.Encode()
}

func (op *OP) refuse(w http.ResponseWriter, r *http.Request, q opRequest, err error) {
	e, tell := errors.AsType[*opRedirectError](err)
	if !tell {
		op.failPage(w, http.StatusBadRequest, err.Error())
		return
	}
	noStore(w)
	http.Redirect(w, r, op.back(q, url.Values{"error": {e.code}, "error_description": {e.description}}), http.StatusSeeOther)
}

// SignIn answers an authorization request as this person, as if the form had
// been filled in, and returns the URL the browser would be sent back to. It is
// for tests that need no browser.
func (op *OP) SignIn(authorizationURL, user string) (string, error) {
	u, err := url.Parse(authorizationURL)
	if err != nil {
		return "", fmt.Errorf("ssotest: authorization URL: %w", err)
	}
	q, err := op.readRequest(u.RawQuery)
	if err != nil {
		return "", fmt.Errorf("ssotest: authorization request: %w", err)
	}
	p, ok := FindPerson(op.opts.People, user)
	if !ok {
		return "", fmt.Errorf("ssotest: nobody is called %q", user)
	}
	return op.callbackURL(q, opSession{person: p, authTime: op.opts.Now(), id: newSecret()})
}
