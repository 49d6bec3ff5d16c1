package ssotest

import (
	"crypto/sha256"
	"crypto/subtle"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/go-jose/go-jose/v4"
)

// token answers the token endpoint (RFC 6749 section 4.1.3, RFC 7636 section 4.6).
func (op *OP) token(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		opTokenError(w, http.StatusBadRequest, "invalid_request", "the form could not be read")
		return
	}
	if !op.clientAuthenticated(r) {
		w.Header().Set("WWW-Authenticate", `Basic realm="token"`)
		opTokenError(w, http.StatusUnauthorized, "invalid_client", "the client is not authenticated")
		return
	}
	var g opGrant
	var why, next string
	kind := r.PostForm.Get("grant_type")
	switch kind {
	case "authorization_code":
		g, next, why = op.redeem(r.PostForm)
	case "refresh_token":
		if h := op.hook().Refresh; h != nil && h(w, r) {
			return
		}
		g, next, why = op.renew(r.PostForm.Get("refresh_token"))
	default:
		opTokenError(w, http.StatusBadRequest, "unsupported_grant_type", "only authorization_code and refresh_token")
		return
	}
	if why != "" {
		opTokenError(w, http.StatusBadRequest, "invalid_grant", why)
		return
	}
	idToken, err := op.idToken(g, kind == "refresh_token")
	if err != nil {
		opTokenError(w, http.StatusInternalServerError, "server_error", err.Error())
		return
	}
	body := map[string]any{
		"access_token": g.token, "token_type": "Bearer", "expires_in": int(opTokenLifetime.Seconds()),
		"scope": strings.Join(g.scopes, " "), "id_token": idToken,
	}
	if next != "" {
		body["refresh_token"] = next
	}
	if h := op.hook().TokenResponse; h != nil {
		h(body)
	}
	writeJSON(w, http.StatusOK, body)
}

// clientAuthenticated takes HTTP Basic (both parts form-encoded, RFC 6749
// section 2.3.1) or the body, never both at once.
func (op *OP) clientAuthenticated(r *http.Request) bool {
	id, secret, basic := r.BasicAuth()
	if basic {
		if r.PostForm.Has("client_secret") {
			return false
		}
		var err1, err2 error
		id, err1 = url.QueryUnescape(id)
		secret, err2 = url.QueryUnescape(secret)
		if err1 != nil || err2 != nil {
			return false
		}
	} else {
		id, secret = r.PostForm.Get("client_id"), r.PostForm.Get("client_secret")
	}
	idOK := subtle.ConstantTimeCompare([]byte(id), []byte(op.opts.ClientID))
	secretOK := subtle.ConstantTimeCompare([]byte(secret), []byte(op.opts.ClientSecret))
	return idOK&secretOK == 1
}

// redeem exchanges a code once. A second use revokes what the first one gave:
// one of the two holders is a thief (RFC 6749 section 4.1.2).
func (op *OP) redeem(form url.Values) (g opGrant, refresh, why string) {
	now := op.opts.Now()
	op.mu.Lock()
	defer op.mu.Unlock()
	code, ok := op.codes[form.Get("code")]
	switch {
	case !ok:
		return opGrant{}, "", "the code is unknown"
	case code.token != "":
		delete(op.tokens, code.token)
		op.revokeFamily(code.family)
		return opGrant{}, "", "the code was used before"
	case now.After(code.expires):
		return opGrant{}, "", "the code has expired"
	case form.Get("redirect_uri") != code.redirectURI:
		return opGrant{}, "", "another redirect URI"
	case !verifierMatches(form.Get("code_verifier"), code.challenge):
		return opGrant{}, "", "the code verifier does not match"
	}
	code.family = newSecret()
	code.token = op.access(*code)
	if slices.Contains(code.scopes, "offline_access") { // Core section 11; this client needs no consent
		refresh = op.mint(*code)
	}
	return *code, refresh, ""
}

// access makes the access token of a grant. It needs mu.
func (op *OP) access(g opGrant) string {
	now := op.opts.Now()
	for t, old := range op.tokens {
		if now.After(old.expires) {
			delete(op.tokens, t)
		}
	}
	token := newSecret()
	g.expires = now.Add(opTokenLifetime)
	if len(op.tokens) < opMaxRecords {
		op.tokens[token] = &g
	}
	return token
}

func verifierMatches(verifier, challenge string) bool {
	sum := sha256.Sum256([]byte(verifier))
	got := base64.RawURLEncoding.EncodeToString(sum[:])
	return len(verifier) >= 43 && subtle.ConstantTimeCompare([]byte(got), []byte(challenge)) == 1
}

func opTokenError(w http.ResponseWriter, status int, code, description string) {
	writeJSON(w, status, map[string]any{"error": code, "error_description": description})
}

func (op *OP) idToken(g opGrant, refreshed bool) (string, error) {
	now := op.opts.Now()
	claims := op.personClaims(g)
	claims["iss"] = op.opts.Issuer
	claims["aud"] = op.opts.ClientID
	claims["iat"] = now.Unix()
	claims["exp"] = now.Add(opTokenLifetime).Unix()
	claims["auth_time"] = g.authTime.Unix()
	claims["sid"] = g.session
	if g.nonce != "" && !refreshed { // Core section 12.2: a refreshed one has none
		claims["nonce"] = g.nonce
	}
	half := sha256.Sum256([]byte(g.token)) // at_hash, Core section 3.1.3.6; both algorithms here use SHA-256
	claims["at_hash"] = base64.RawURLEncoding.EncodeToString(half[:16])
	h := op.hook()
	if h.Claims != nil {
		h.Claims(claims)
	}
	if refreshed && h.RefreshClaims != nil {
		h.RefreshClaims(claims)
	}
	if h.Sign != nil {
		return h.Sign(claims)
	}
	return op.SignClaims(claims)
}

// SignClaims makes a JWT with the current key, as an ID token is made.
func (op *OP) SignClaims(claims map[string]any) (string, error) {
	k := op.current()
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: k.alg, Key: jose.JSONWebKey{Key: k.signer, KeyID: k.id}},
		(&jose.SignerOptions{}).WithType("JWT"),
	)
	if err != nil {
		return "", fmt.Errorf("ssotest: signer: %w", err)
	}
	payload, err := json.Marshal(claims)
	if err != nil {
		return "", fmt.Errorf("ssotest: claims: %w", err)
	}
	jws, err := signer.Sign(payload)
	if err != nil {
		return "", fmt.Errorf("ssotest: sign: %w", err)
	}
	return jws.CompactSerialize()
}

// personClaims are the claims of Core section 5.1 that the scopes ask for.
func (op *OP) personClaims(g opGrant) map[string]any {
	p := g.person
	claims := map[string]any{"sub": op.Sub(p.User)}
	if slices.Contains(g.scopes, "profile") {
		claims["preferred_username"] = p.User
		claims["name"] = p.DisplayName
		claims["given_name"] = p.GivenName
		claims["family_name"] = p.FamilyName
	}
	if slices.Contains(g.scopes, "email") && p.Email != "" {
		claims["email"] = p.Email
		claims["email_verified"] = true
	}
	if slices.Contains(g.scopes, "groups") && len(p.Groups) > 0 {
		claims["groups"] = p.Groups
	}
	return claims
}

// userInfo answers Core section 5.3.
func (op *OP) userInfo(w http.ResponseWriter, r *http.Request) {
	token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	op.mu.Lock()
	g, ok := op.tokens[token]
	op.mu.Unlock()
	if !bearer || !ok || op.opts.Now().After(g.expires) {
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		opTokenError(w, http.StatusUnauthorized, "invalid_token", "the access token is unknown or expired")
		return
	}
	claims := op.personClaims(*g)
	if h := op.hook().UserInfo; h != nil {
		h(claims)
	}
	writeJSON(w, http.StatusOK, claims)
}
