package oauth

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4/json"
	"golang.org/x/oauth2"
	"golang.org/x/sync/singleflight"

	"github.com/ssogate/ssogate/internal/clock"
)

// How long a provider's documents serve.
const (
	freshFor   = time.Hour      // then they are fetched again
	usableFor  = 24 * time.Hour // and until then the last good ones serve if that fails
	maxBackOff = time.Minute
)

// metadata is the part of the discovery document that is used. Decoded by
// go-jose's JSON reader: exact member names, and a repeated member is an error.
type metadata struct {
	Issuer        string   `json:"issuer"`
	Authorization string   `json:"authorization_endpoint"`
	Token         string   `json:"token_endpoint"`
	UserInfo      string   `json:"userinfo_endpoint"`
	JWKS          string   `json:"jwks_uri"`
	EndSession    string   `json:"end_session_endpoint"` // RP-Initiated Logout 1.0
	Algorithms    []string `json:"id_token_signing_alg_values_supported"`
	Scopes        []string `json:"scopes_supported"`
	AuthMethods   []string `json:"token_endpoint_auth_methods_supported"`
	SendsIssuer   bool     `json:"authorization_response_iss_parameter_supported"` // RFC 9207

	style oauth2.AuthStyle
	keys  *keySet
}

// discovery keeps one provider's metadata. Safe for concurrent use.
type discovery struct {
	issuer    string
	hasSecret bool
	keysOnly  bool // nobody signs in there: what only a sign-in needs may be missing
	client    *http.Client
	now       clock.Func
	timeout   time.Duration
	flight    singleflight.Group

	mu       sync.Mutex
	good     *metadata
	fetched  time.Time
	failures int
	tried    time.Time
	wait     time.Duration
	lastErr  error
}

func newDiscovery(issuer string, hasSecret bool, c *http.Client, now clock.Func, timeout time.Duration) *discovery {
	return &discovery{issuer: issuer, hasSecret: hasSecret, client: c, now: now, timeout: timeout}
}

// get answers the metadata, fetching it if need be. While the last good
// document is usable nobody waits for the provider: a new one is fetched beside.
func (d *discovery) get(ctx context.Context) (*metadata, error) {
	good, fresh, resting, last := d.state()
	switch {
	case good != nil && (fresh || resting):
		return good, nil
	case resting:
		return nil, last
	}
	// The fetch outlives the browser that caused it: closing one tab must not
	// fail the others that wait for the same answer.
	ch := d.flight.DoChan("", func() (any, error) {
		fctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), d.timeout)
		defer cancel()
		m, err := d.fetch(fctx)
		return d.record(m, err)
	})
	if good != nil {
		return good, nil
	}
	select {
	case <-ctx.Done():
		return nil, &UnavailableError{Step: "discovery", Err: ctx.Err()}
	case r := <-ch:
		if r.Err != nil {
			return nil, r.Err
		}
		m, ok := r.Val.(*metadata)
		if !ok {
			return nil, &UnavailableError{Step: "discovery", Err: errors.New("no document")}
		}
		return m, nil
	}
}

// state reads what is known: a usable document, whether it is fresh, and
// whether the provider is being left alone after a failure, and after which.
func (d *discovery) state() (good *metadata, fresh, resting bool, last error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	now := d.now()
	if age := now.Sub(d.fetched); d.good != nil && age >= 0 && age < usableFor {
		good, fresh = d.good, age < freshFor
	}
	since := now.Sub(d.tried)
	resting = d.failures > 0 && since >= 0 && since < d.wait
	return good, fresh, resting, d.lastErr
}

func (d *discovery) record(m *metadata, err error) (*metadata, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.tried = d.now()
	if err != nil {
		d.failures++
		d.lastErr = err
		// 1, 2, 4 ... 60 s, each up to a quarter longer, so that the nodes of one
		// gateway do not come back to a recovering provider all at once.
		d.wait = min(time.Second<<min(d.failures-1, 6), maxBackOff)
		d.wait += rand.N(d.wait/4 + 1) //nolint:gosec // spreads load; guessing it gains nothing
		return nil, err
	}
	d.failures, d.lastErr = 0, nil
	if d.good != nil && d.good.JWKS == m.JWKS {
		m.keys = d.good.keys // keeps the keys, and the count of fetches
	} else {
		m.keys = newKeySet(m.JWKS, d.client, d.now, d.timeout)
	}
	d.good, d.fetched = m, d.tried
	return m, nil
}

func (d *discovery) fetch(ctx context.Context) (*metadata, error) {
	// Discovery section 4: one slash at the end of the issuer is not doubled.
	body, err := fetch(ctx, d.client, "discovery", strings.TrimSuffix(d.issuer, "/")+"/.well-known/openid-configuration", "")
	if err != nil {
		return nil, err
	}
	var m metadata
	if err := json.Unmarshal(body, &m); err != nil {
		return nil, &UnavailableError{Step: "discovery", Err: fmt.Errorf("not a discovery document: %w", bounded(err))}
	}
	check := func() error { return m.check(d.issuer, d.hasSecret) }
	if d.keysOnly {
		check = func() error { return m.checkKeys(d.issuer) }
	}
	if err := check(); err != nil {
		return nil, &UnavailableError{Step: "discovery", Err: err}
	}
	return &m, nil
}

// checkKeys is check for an issuer whose keys are all that is wanted.
func (m *metadata) checkKeys(issuer string) error {
	if m.Issuer != issuer {
		return fmt.Errorf("the issuer calls itself %q, the configured one is %q", printable(m.Issuer, 200), issuer)
	}
	if err := checkEndpoint(m.JWKS, strings.HasPrefix(issuer, "https://")); err != nil {
		return fmt.Errorf("jwks_uri: %w", err)
	}
	return nil
}

// check refuses a document that belongs to somebody else or would weaken what
// follows. Every endpoint is another URL that the provider makes us call or
// send people to.
func (m *metadata) check(issuer string, hasSecret bool) error {
	// Byte for byte (Discovery section 4.3): a document of another issuer is how
	// a mix-up attack begins.
	if m.Issuer != issuer {
		return fmt.Errorf("the provider calls itself %q, the configured issuer is %q", printable(m.Issuer, 200), issuer)
	}
	secure := strings.HasPrefix(issuer, "https://")
	for name, u := range map[string]string{"authorization_endpoint": m.Authorization, "token_endpoint": m.Token, "jwks_uri": m.JWKS} {
		if err := checkEndpoint(u, secure); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	for name, u := range map[string]string{"userinfo_endpoint": m.UserInfo, "end_session_endpoint": m.EndSession} {
		if u == "" {
			continue // both are optional
		}
		if err := checkEndpoint(u, secure); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if len(m.Algorithms) > 0 && !slices.ContainsFunc(m.Algorithms, func(a string) bool { return slices.Contains(algorithms(), a) }) {
		return errors.New("the provider signs ID tokens with no asymmetric algorithm")
	}
	switch {
	case !hasSecret: // a public client only names itself, in the body
		m.style = oauth2.AuthStyleInParams
	case len(m.AuthMethods) == 0 || slices.Contains(m.AuthMethods, "client_secret_basic"): // the default of Discovery section 3
		m.style = oauth2.AuthStyleInHeader
	case slices.Contains(m.AuthMethods, "client_secret_post"):
		m.style = oauth2.AuthStyleInParams
	default:
		return errors.New("the token endpoint takes neither client_secret_basic nor client_secret_post")
	}
	return nil
}

func checkEndpoint(s string, secure bool) error {
	u, err := url.Parse(s)
	switch {
	case err != nil:
		return errors.New("not a URL")
	case u.Host == "" || u.User != nil || u.Fragment != "" || len(s) > 2048:
		return errors.New("not an absolute URL")
	case u.Scheme == "https", u.Scheme == "http" && !secure:
		return nil
	}
	return fmt.Errorf("scheme %q", printable(u.Scheme, 20)) // javascript:, or http below an https issuer
}
