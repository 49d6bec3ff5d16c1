package identity

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// HeaderAssertion carries the signed assertion, unless the route names another header.
const HeaderAssertion = "X-Ssogate-Assertion"

const (
	usualSkew = 10 * time.Second
	maxSkew   = time.Minute
)

// Options of [NewVerifier]. The zero value fits what ssogate does by default.
type Options struct {
	Header  string        // that carries the token; default [HeaderAssertion]
	KeysURL string        // default issuer + "/jwks.json": another one where the application reaches the gateway by another name
	Client  *http.Client  // default: one that follows no redirects. Fetches have a deadline of 5 s in any case
	Skew    time.Duration // that clocks may differ; default 10 s, at most a minute
	Now     func() time.Time
}

// Verifier checks signed assertions. Make one when the application starts and share
// it. Safe for concurrent use.
type Verifier struct {
	issuer, audience string
	header           string
	skew             time.Duration
	now              func() time.Time
	keys             keySet
}

// NewVerifier takes the url of the gateway, as its config has it, and the audience of
// the route: its name, unless the config says otherwise. It fetches nothing yet.
func NewVerifier(issuer, audience string, o Options) (*Verifier, error) {
	issuer = strings.TrimSuffix(issuer, "/")
	u, err := url.Parse(issuer)
	if err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || audience == "" {
		return nil, errors.New("identity: a verifier needs the url of the gateway and an audience")
	}
	if o.Skew < 0 || o.Skew > maxSkew {
		return nil, fmt.Errorf("identity: a skew of %s is not between 0 and %s", o.Skew, maxSkew)
	}
	if o.Header == "" {
		o.Header = HeaderAssertion
	}
	if o.KeysURL == "" {
		o.KeysURL = issuer + "/jwks.json"
	}
	if o.Skew == 0 {
		o.Skew = usualSkew
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Client == nil {
		o.Client = &http.Client{
			Timeout: fetchTime,
			// Keys are where the gateway is, and nowhere else.
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
	}
	return &Verifier{
		issuer: issuer, audience: audience, header: o.Header, skew: o.Skew, now: o.Now,
		keys: keySet{url: o.KeysURL, client: o.Client, now: o.Now},
	}, nil
}

// FromRequest reads who asks from the token that came with a request. It answers
// [ErrNoUser] when there is none, an error that wraps [ErrKeys] when it cannot be
// told, and any other error when the token is not good: treat every error as "nobody
// is signed in".
func (v *Verifier) FromRequest(r *http.Request) (User, error) {
	token, err := single(r.Header, v.header)
	if err != nil {
		return User{}, err
	}
	if token == "" {
		return User{}, ErrNoUser
	}
	return v.Verify(r.Context(), token)
}

// Verify checks a token and answers whom it names. Errors say nothing of the token.
func (v *Verifier) Verify(ctx context.Context, token string) (User, error) {
	t, err := parseToken(token)
	if err != nil {
		return User{}, err
	}
	key, err := v.keys.find(ctx, t.kid)
	if err != nil {
		return User{}, err
	}
	if !key.verifies(t) {
		return User{}, errors.New("identity: the signature of the token is wrong")
	}
	var c claims
	if err := json.Unmarshal(t.payload, &c); err != nil {
		return User{}, errForm
	}
	if err := c.check(v.issuer, v.audience, v.now(), v.skew); err != nil {
		return User{}, err
	}
	return User{ID: c.Subject, PreferredUsername: c.PreferredUsername, Email: c.Email, Name: c.Name, Groups: c.Groups}, nil
}
