package scim

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/internal/bearer"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/internal/web"
	"github.com/ssogate/ssogate/member"
)

// TokenPath is where a client gets an access token, on the gateway's own origin.
const TokenPath = "/scim/token"

// An access token is good for as long as Entra's gallery asks: 60 to 360 minutes.
const (
	MinTokenLife = 60 * time.Minute
	MaxTokenLife = 360 * time.Minute
)

// maxTokenForm bounds the body of a token request.
const maxTokenForm = 16 << 10

const accessContext = "scim access token"

// access is what an access token holds, sealed. It is good while its client
// exists: revoking the client ends it at the next request.
type access struct {
	Client  string `json:"c"`
	Expires int64  `json:"e"` // unix seconds
}

// oauthError is RFC 6749 section 5.2.
type oauthError struct {
	status      int
	code, about string
	basic       bool // the client tried HTTP Basic: the answer names it
	err         error
}

func (e *oauthError) Error() string { return "scim: token request: " + e.code + ": " + e.about }

func (e *oauthError) Unwrap() error { return e.err }

// TokenEndpoint answers OAuth 2.0 client credentials requests (RFC 6749 section
// 4.4). Mount it at [TokenPath]. A wrong secret costs the sender one indexed read
// here and nobody else anything: with 256 random bits to guess there is nothing to
// slow down, and no limit that an attacker could use up for the real client.
func (h *Handler) TokenEndpoint() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		head := w.Header()
		head.Set("Cache-Control", "no-store")
		head.Set("Pragma", "no-cache") // section 5.1
		head.Set("X-Content-Type-Options", "nosniff")
		head.Set("Content-Type", "application/json")
		token, err := h.issue(r)
		if err == nil {
			writeJSON(w, http.StatusOK, map[string]any{
				"access_token": token, "token_type": "Bearer", "expires_in": int(h.o.TokenLife.Seconds()),
			})
			return
		}
		var e *oauthError
		if !errors.As(err, &e) {
			e = &oauthError{status: http.StatusServiceUnavailable, code: "temporarily_unavailable", about: "try again", err: err}
		}
		if e.err != nil {
			h.o.Log.ErrorContext(r.Context(), "scim token request failed", "err", e.err, "request_id", web.RequestID(r.Context()))
		}
		switch {
		case e.status == http.StatusMethodNotAllowed:
			head.Set("Allow", http.MethodPost)
		case e.status == http.StatusServiceUnavailable:
			head.Set("Retry-After", itoa(barrierRetryIn))
		case e.basic:
			head.Set("WWW-Authenticate", `Basic realm="scim"`)
		}
		writeJSON(w, e.status, map[string]any{"error": e.code, "error_description": e.about})
	})
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	b, err := json.Marshal(v)
	if err != nil { // unreachable: strings and numbers
		status = http.StatusInternalServerError
	}
	w.Header().Set("Content-Length", itoa(len(b)))
	w.WriteHeader(status)
	_, _ = w.Write(b) // the client has gone
}

// issue checks a request and makes the token.
func (h *Handler) issue(r *http.Request) (string, error) {
	form, err := tokenForm(r)
	if err != nil {
		return "", err
	}
	id, clientSecret, basic, err := credentials(r, form)
	if err != nil {
		return "", err
	}
	if form.Get("grant_type") != "client_credentials" {
		return "", &oauthError{status: http.StatusBadRequest, code: "unsupported_grant_type", about: "grant_type must be client_credentials"}
	}
	refused := func(reason string) error {
		c := &call{h: h, r: r, ctx: r.Context()}
		_ = c.deny(reason) // audited, within the budget of refusals
		return &oauthError{status: http.StatusUnauthorized, code: "invalid_client", about: "the client or its secret is not valid", basic: basic}
	}
	if !strings.HasPrefix(id, clientPrefix) || !plainID(id) || !bearer.HasForm(clientSecret, secretPrefix) {
		return "", refused("client_unknown")
	}
	client, err := h.o.Access.Client(r.Context(), id)
	switch {
	case errors.Is(err, member.ErrNotFound):
		return "", refused("client_unknown")
	case err != nil:
		return "", err
	}
	now := h.o.Now()
	switch {
	case !client.Is(secret.Sum(clientSecret)):
		return "", refused("client_secret_wrong")
	case client.Expired(now):
		return "", refused("client_expired")
	}
	if _, ok := connection(h.o.Live.Load(), client.Connection); !ok {
		return "", refused("connection_unknown")
	}
	// No unaudited success (audit.Recorder): whoever holds the token makes members.
	if err := h.o.Audit.Record(r.Context(), audit.Event{
		Kind: "scim.token.issued", Outcome: audit.Allowed, Actor: "scim:" + client.Connection, Target: "client:" + id,
		RequestID: web.RequestID(r.Context()), Address: clientAddress(r.Context()),
	}); err != nil {
		return "", err
	}
	b, err := json.Marshal(access{Client: id, Expires: now.Add(h.o.TokenLife).Unix()})
	if err != nil {
		return "", err
	}
	return accessPrefix + base64.RawURLEncoding.EncodeToString(h.o.Sealer.Seal(b, accessContext)), nil
}

// tokenForm reads the parameters, each of which may be given once (RFC 6749
// section 3.2), and only in the body: a query ends up in logs.
func tokenForm(r *http.Request) (url.Values, error) {
	bad := func(about string) error {
		return &oauthError{status: http.StatusBadRequest, code: "invalid_request", about: about}
	}
	if r.Method != http.MethodPost {
		return nil, &oauthError{status: http.StatusMethodNotAllowed, code: "invalid_request", about: "the method must be POST"}
	}
	if t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || t != "application/x-www-form-urlencoded" {
		return nil, bad("the body must be application/x-www-form-urlencoded")
	}
	raw, err := io.ReadAll(io.LimitReader(r.Body, maxTokenForm+1))
	switch {
	case err != nil:
		return nil, bad("the body could not be read")
	case len(raw) > maxTokenForm:
		return nil, &oauthError{status: http.StatusRequestEntityTooLarge, code: "invalid_request", about: "the body is larger than 16 KiB"}
	}
	form, err := url.ParseQuery(string(raw))
	if err != nil {
		return nil, bad("the body is not properly escaped")
	}
	for k, v := range form {
		if len(v) > 1 {
			return nil, bad("a parameter is given twice")
		}
		if r.URL.Query().Has(k) {
			return nil, bad("parameters belong in the body")
		}
	}
	return form, nil
}

// credentials are the client's, by HTTP Basic or in the form but not both (RFC
// 6749 section 2.3.1).
func credentials(r *http.Request, form url.Values) (id, clientSecret string, basic bool, err error) {
	bad := func(about string) error {
		return &oauthError{status: http.StatusBadRequest, code: "invalid_request", about: about}
	}
	headers := r.Header.Values("Authorization")
	switch {
	case len(headers) > 1:
		return "", "", false, bad("more than one Authorization header")
	case len(headers) == 0:
		return form.Get("client_id"), form.Get("client_secret"), false, nil
	case form.Has("client_secret"):
		return "", "", false, bad("the client must authenticate in one way only")
	}
	id, clientSecret, ok := r.BasicAuth()
	if !ok {
		return "", "", true, nil // another scheme: refused as an unknown client
	}
	// Both are form-urlencoded inside; clients that leave that out send the same,
	// because ours need no escapes.
	id, err1 := url.QueryUnescape(id)
	clientSecret, err2 := url.QueryUnescape(clientSecret)
	if err1 != nil || err2 != nil {
		return "", "", true, bad("the credentials are not properly escaped")
	}
	if form.Has("client_id") && form.Get("client_id") != id {
		return "", "", true, bad("two client_ids")
	}
	return id, clientSecret, true, nil
}

// byAccess admits an access token, whose client must still be there.
func (c *call) byAccess(token string) error {
	sealed, err := base64.RawURLEncoding.DecodeString(strings.TrimPrefix(token, accessPrefix))
	if err != nil {
		return c.deny("token_unknown")
	}
	plain, err := c.h.o.Sealer.Open(sealed, accessContext)
	if err != nil {
		return c.deny("token_unknown")
	}
	var a access
	if err := json.Unmarshal(plain, &a); err != nil || a.Client == "" {
		return c.deny("token_unknown")
	}
	if c.h.o.Now().Unix() >= a.Expires {
		return c.deny("token_expired")
	}
	client, err := c.h.o.Access.Client(c.ctx, a.Client)
	switch {
	case errors.Is(err, member.ErrNotFound):
		return c.deny("client_revoked")
	case err != nil:
		return unavailable(err)
	}
	return c.admit(client, "client", c.h.o.Access.UsedClient)
}
