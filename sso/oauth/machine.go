package oauth

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"github.com/go-jose/go-jose/v4"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/machine"
	"github.com/ssogate/ssogate/sso"
)

const (
	maxVerified      = 10_000          // JWTs whose verification is remembered
	verifiedFor      = 5 * time.Minute // and for how long at most: a withdrawn key counts no longer
	machineTimeout   = 5 * time.Second // of a request that has to wait for keys
	maxMachineClaims = 200             // a JWT has a dozen
)

// MachineOptions describe an issuer of JWTs for machines. HTTP is required, as are
// Name, Issuer, Audience and MaxLifetime.
type MachineOptions struct {
	Name        string // in our config file
	Issuer      string // the iss claim, byte for byte
	Audience    string // us, among those of the aud claim
	JWKS        string // where its keys are; "" = by its discovery document
	Algorithms  []string
	Subject     string // claim that names a machine; "" = sub
	TeamsClaim  string // claim whose values Teams turns into teams of ours; "" = none
	Teams       []TeamOf
	MaxLifetime time.Duration // from iat to exp
	HTTP        *http.Client  // from internal/outbound
	Now         clock.Func
	Timeout     time.Duration // of fetching keys; 0 = 5 s
}

// TeamOf gives a value of a claim the slug of a team.
type TeamOf struct{ Value, Team string }

// MachineIssuer verifies JWT access tokens (RFC 9068), or what issuers sign that do not
// know that form: workload identities of clusters, clouds and build services. Safe for
// concurrent use.
type MachineIssuer struct {
	o    MachineOptions
	keys *keySet    // nil: by disc
	disc *discovery // nil: keys are given

	mu       sync.Mutex
	verified map[secret.Hash]vouched
}

type vouched struct {
	machine.Vouched
	until time.Time
}

// NewMachineIssuer checks the options. It makes no call: keys are fetched when the first
// token comes.
func NewMachineIssuer(o MachineOptions) (*MachineIssuer, error) {
	fault := func(format string, args ...any) (*MachineIssuer, error) {
		return nil, fmt.Errorf("oauth: machine issuer %q: %w", o.Name, fmt.Errorf(format, args...))
	}
	if err := checkIssuer(o.Issuer); err != nil {
		return fault("%w", err)
	}
	for _, a := range o.Algorithms {
		if !slices.Contains(algorithms(), a) {
			return fault("algorithm %q is none of %v", a, algorithms())
		}
	}
	switch {
	case !providerID().MatchString(o.Name):
		return fault("the name is not a slug")
	case o.Audience == "" || o.MaxLifetime <= 0:
		return fault("no audience or no maximum lifetime")
	case o.HTTP == nil: // see New
		return fault("no HTTP client")
	case o.JWKS != "":
		if err := checkEndpoint(o.JWKS, strings.HasPrefix(o.Issuer, "https://")); err != nil {
			return fault("keys: %w", err)
		}
	}
	if len(o.Algorithms) == 0 {
		o.Algorithms = algorithms()
	}
	if o.Subject == "" {
		o.Subject = "sub"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Timeout == 0 {
		o.Timeout = machineTimeout
	}
	i := &MachineIssuer{o: o, verified: map[secret.Hash]vouched{}}
	if o.JWKS != "" {
		i.keys = newKeySet(o.JWKS, o.HTTP, o.Now, o.Timeout)
	} else {
		i.disc = newDiscovery(o.Issuer, false, o.HTTP, o.Now, o.Timeout/2)
		i.disc.keysOnly = true
	}
	return i, nil
}

// Name is the issuer's in the config file.
func (i *MachineIssuer) Name() string { return i.o.Name }

// Verify answers whose a JWT is. The error is a *machine.RefusedError, whose reason is
// machine.NotMine where another issuer made the token; every other one means that the
// issuer's keys cannot be had now.
func (i *MachineIssuer) Verify(ctx context.Context, token string) (machine.Vouched, error) {
	if len(token) > maxToken {
		return machine.Vouched{}, &machine.RefusedError{Reason: "jwt_malformed", Err: errTooLarge}
	}
	h := secret.Sum(token)
	if v, ok := i.remembered(h); ok {
		return v, nil
	}
	v, err := i.verify(ctx, token)
	if no, ok := errors.AsType[*sso.VerifyError](err); ok {
		return machine.Vouched{}, &machine.RefusedError{Reason: "jwt_" + no.Reason, Err: no.Err}
	}
	if err != nil {
		return machine.Vouched{}, err
	}
	v.Hash = h
	i.remember(v)
	return v, nil
}

func (i *MachineIssuer) remembered(h secret.Hash) (machine.Vouched, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	v, ok := i.verified[h]
	now := i.o.Now()
	return v.Vouched, ok && now.Before(v.until) && now.Before(v.Expires)
}

func (i *MachineIssuer) remember(v machine.Vouched) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if _, there := i.verified[v.Hash]; !there && len(i.verified) >= maxVerified {
		for h := range i.verified { // arbitrary, in constant time: it is verified again
			delete(i.verified, h)
			break
		}
	}
	i.verified[v.Hash] = vouched{v, i.o.Now().Add(verifiedFor)}
}

func (i *MachineIssuer) verify(ctx context.Context, token string) (machine.Vouched, error) {
	typ, err := i.peek(token)
	if err != nil {
		return machine.Vouched{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, i.o.Timeout)
	defer cancel()
	keys := i.keys
	if keys == nil {
		m, err := i.disc.get(ctx)
		if err != nil {
			return machine.Vouched{}, err
		}
		keys = m.keys
	}
	set, payload, err := checkSignature(ctx, keys, token, typ)
	if err != nil {
		return machine.Vouched{}, err
	}
	c, err := parseClaims(payload)
	if err != nil {
		return machine.Vouched{}, refuse("malformed", bounded(err))
	}
	v, err := i.believe(c)
	if err != nil {
		return machine.Vouched{}, err
	}
	// Once more by go-oidc, so that a slip in either is caught by the other.
	again := oidc.NewVerifier(i.o.Issuer, set, &oidc.Config{ClientID: i.o.Audience, SupportedSigningAlgs: i.o.Algorithms, Now: i.o.Now})
	if _, err := again.Verify(ctx, token); err != nil {
		return machine.Vouched{}, refuse("token", bounded(err))
	}
	return v, nil
}

// peek reads what decides whether a key is worth fetching, before anything of it is
// believed: a stranger's token must not cost a call. The type is what RFC 9068 section
// 2.1 calls an access token, where the token says one.
func (i *MachineIssuer) peek(token string) (typ string, err error) {
	jws, err := jose.ParseSignedCompact(token, joseAlgorithms())
	if err != nil {
		if _, ok := errors.AsType[*jose.ErrUnexpectedSignatureAlgorithm](err); ok {
			return "", refuse("alg", bounded(err))
		}
		return "", refuse("malformed", errors.New("not a signed JWT"))
	}
	c, err := parseClaims(jws.UnsafePayloadWithoutVerification())
	if err != nil || len(c) > maxMachineClaims {
		return "", refuse("malformed", errors.New("not the claims of a JWT"))
	}
	if iss, err := c.text("iss"); err != nil || iss != i.o.Issuer {
		return "", refuse("issuer", errors.New("of another issuer"))
	}
	h := jws.Signatures[0].Protected
	if !slices.Contains(i.o.Algorithms, h.Algorithm) {
		return "", refuse("alg", errors.New(printable(h.Algorithm, 20)))
	}
	typ = "at+jwt"
	if is, _ := h.ExtraHeaders[jose.HeaderType].(string); strings.EqualFold(is, "application/"+typ) {
		typ = is
	}
	return typ, nil
}

// believe checks the claims of a token whose signature is good (RFC 9068 section 4).
func (i *MachineIssuer) believe(c claims) (machine.Vouched, error) {
	v := machine.Vouched{Issuer: i.o.Name}
	if iss, err := c.text("iss"); err != nil || iss != i.o.Issuer {
		return v, refuse("issuer", errors.New("of another issuer"))
	}
	aud, err := c.list("aud")
	if err != nil || !slices.Contains(aud, i.o.Audience) {
		return v, refuse("audience", errors.New("the token is for somebody else"))
	}
	if v.Issued, v.Expires, err = i.times(c); err != nil {
		return v, err
	}
	switch {
	case c.has("nonce"):
		// Only a browser's sign-in has one: its ID token lies about in places where an
		// access token would not.
		return v, refuse("id_token", errors.New("an ID token is no access token"))
	case c.has("cnf"):
		// Bound to a key or certificate (RFC 7800) that nobody shows here: as a plain
		// bearer it is somebody else's (RFC 9449 section 7.2).
		return v, refuse("bound", errors.New("the token is bound to a key"))
	}
	v.Subject, err = c.text(i.o.Subject)
	if err != nil || v.Subject == "" || len(v.Subject) > 255 {
		return v, refuse("subject", fmt.Errorf("claim %s is missing, too long or malformed", i.o.Subject))
	}
	v.Teams, err = i.teams(c)
	return v, err
}

// times are when the token was issued and when it ends. An end needs no skew: whose clock
// is late renews early.
func (i *MachineIssuer) times(c claims) (iat, exp time.Time, err error) {
	now := i.o.Now()
	exp, err1 := c.when("exp")
	iat, err2 := c.when("iat")
	nbf, err3 := c.when("nbf")
	if err := errors.Join(err1, err2, err3); err != nil {
		return iat, exp, refuse("time", err)
	}
	switch {
	case exp.IsZero() || iat.IsZero():
		err = errors.New("exp or iat is missing")
	case !now.Before(exp):
		err = fmt.Errorf("expired %s ago", now.Sub(exp).Round(time.Second))
	case iat.After(now.Add(Skew)):
		err = fmt.Errorf("issued %s in the future", iat.Sub(now).Round(time.Second))
	case nbf.After(now.Add(Skew)):
		err = fmt.Errorf("not valid for another %s", nbf.Sub(now).Round(time.Second))
	case exp.Sub(iat) > i.o.MaxLifetime:
		// Nothing but its end takes it back.
		err = fmt.Errorf("good for %s, longer than %s", exp.Sub(iat), i.o.MaxLifetime)
	}
	if err != nil {
		return iat, exp, refuse("time", err)
	}
	return iat, exp, nil
}

// teams turns values into teams by the operator's table and nothing else: an issuer must
// not be able to name a team of ours.
func (i *MachineIssuer) teams(c claims) (teams []string, err error) {
	if i.o.TeamsClaim == "" {
		return nil, nil
	}
	values, err := c.list(i.o.TeamsClaim)
	if i.o.TeamsClaim == "scope" || i.o.TeamsClaim == "scp" {
		var text string
		if text, err = c.text(i.o.TeamsClaim); err != nil {
			values, err = c.list(i.o.TeamsClaim) // some write a list
		} else {
			values = strings.Fields(text) // RFC 8693 section 4.2: with spaces between
		}
	}
	if err != nil {
		return nil, refuse("teams", err)
	}
	for _, t := range i.o.Teams {
		if slices.Contains(values, t.Value) && !slices.Contains(teams, t.Team) {
			teams = append(teams, t.Team)
		}
	}
	slices.Sort(teams)
	return teams, nil
}
