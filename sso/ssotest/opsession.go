package ssotest

import (
	"net/http"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/json"
)

// cookieName carries the port: cookies are shared between the ports of a host,
// and the demo's SAML IdP is another provider on the same one.
func (op *OP) cookieName() string {
	port := op.issuer.Port()
	if port == "" {
		port = op.issuer.Scheme
	}
	return "op_session_" + port
}

// session is the session of this browser, if it has a live one.
func (op *OP) session(r *http.Request) (opSession, bool) {
	c, err := r.Cookie(op.cookieName())
	if err != nil {
		return opSession{}, false
	}
	op.mu.Lock()
	defer op.mu.Unlock()
	s, ok := op.sessions[c.Value]
	if !ok || !op.opts.Now().Before(s.expires) {
		return opSession{}, false
	}
	return s, true
}

func (op *OP) startSession(w http.ResponseWriter, p Person) opSession {
	now := op.opts.Now()
	s := opSession{person: p, authTime: now, expires: now.Add(opSessionLifetime), id: newSecret()}
	value := newSecret()
	op.mu.Lock()
	for k, old := range op.sessions {
		// Past the budget everybody signs in again, which is all a demo owes.
		if now.After(old.expires) || len(op.sessions) >= opMaxRecords {
			delete(op.sessions, k)
		}
	}
	op.sessions[value] = s
	op.mu.Unlock()
	op.setCookie(w, value, int(opSessionLifetime.Seconds()))
	return s
}

func (op *OP) stopSession(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie(op.cookieName()); err == nil {
		op.mu.Lock()
		delete(op.sessions, c.Value)
		op.mu.Unlock()
	}
	op.setCookie(w, "", -1)
}

func (op *OP) setCookie(w http.ResponseWriter, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{ // Lax is sent with the redirect that starts a sign-in
		Name: op.cookieName(), Value: value, Path: "/", MaxAge: maxAge, HttpOnly: true,
		Secure: op.issuer.Scheme == "https", SameSite: http.SameSiteLaxMode,
	})
}

// endSession is RP-Initiated Logout 1.0. With an ID token of this very session
// it signs out at once; without one a person must press the button, or any page
// could sign people out by a link.
func (op *OP) endSession(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		op.failPage(w, http.StatusBadRequest, "The request could not be read.")
		return
	}
	s, signedIn := op.session(r)
	hinted := signedIn && op.hintNames(r.Form.Get("id_token_hint"), s)
	confirmed := r.Method == http.MethodPost && r.PostForm.Get("confirm") != ""
	if signedIn && !hinted && !confirmed {
		op.logoutPage(w, s, r.Form)
		return
	}
	op.stopSession(w, r)
	back := r.Form.Get("post_logout_redirect_uri")
	if !slices.Contains(op.opts.PostLogoutRedirectURIs, back) {
		op.donePage(w)
		return
	}
	if state := r.Form.Get("state"); state != "" {
		sep := "?"
		if strings.Contains(back, "?") {
			sep = "&"
		}
		back += sep + "state=" + urlEscape(state)
	}
	noStore(w)
	http.Redirect(w, r, back, http.StatusSeeOther)
}

// hintNames reports whether hint is an ID token that this provider signed for
// this session. Its expiry does not matter (section 2 of the specification).
func (op *OP) hintNames(hint string, s opSession) bool {
	jws, err := jose.ParseSignedCompact(hint, []jose.SignatureAlgorithm{jose.RS256, jose.ES256})
	if err != nil {
		return false
	}
	op.mu.Lock()
	keys := slices.Clone(op.keys)
	op.mu.Unlock()
	for _, k := range keys {
		payload, err := jws.Verify(k.signer.Public())
		if err != nil {
			continue
		}
		var claims struct {
			Sub string `json:"sub"`
			SID string `json:"sid"`
		}
		return json.Unmarshal(payload, &claims) == nil && claims.SID == s.id && claims.Sub == op.Sub(s.person.User)
	}
	return false
}
