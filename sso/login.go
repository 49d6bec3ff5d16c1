package sso

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
)

// Kind keeps test sign-ins apart from live ones: a live Login is never
// satisfied by a response to a test one, and the reverse (row S30).
type Kind string

// Kinds. The zero value is neither and is refused.
const (
	Live Kind = "live"
	Test Kind = "test"
)

// Limits of the handshake.
const (
	LoginLifetime = 60 * time.Minute // from the first redirect to the IdP's answer
	CodeLifetime  = 60 * time.Second // of a completion or hand-off code
)

// Login is one pending sign-in, stored under the hash of its id, single use.
type Login struct {
	ID         string `json:"-"` // 256 bits; RelayState or state; never stored
	Kind       Kind   `json:"kind"`
	AppHost    string `json:"app_host,omitempty"`    // scheme://host[:port] to return to, "" = gateway
	ReturnPath string `json:"return_path"`           // path?query#fragment, checked by SafeReturn
	AppBinding string `json:"app_binding,omitempty"` // hash of the app host's binding cookie
	Binding    string `json:"binding,omitempty"`     // hash of the gateway's binding cookie
	Provider   string `json:"provider,omitempty"`    // set when the browser is sent to it
	Start      Start  `json:"start"`
	Invitation string `json:"invitation,omitempty"`  // hash of the invitation token this browser opened
	Bounces    int    `json:"bounces,omitempty"`     // how often it was begun again because the gateway's binding was missing; bounded (D02)
	AppBounces int    `json:"app_bounces,omitempty"` // the same for the app host's
	ForceAuthn bool   `json:"force_authn,omitempty"` // "use another account"
	// Fresh: a page asks for credentials that were shown a moment ago, so the answer
	// must prove that they were. ForceAuthn alone is also a wish for another account.
	Fresh   bool      `json:"fresh,omitempty"`
	Expires time.Time `json:"expires"`
}

// Start is what a provider must remember between sending the browser away and
// verifying the answer. URL is where the browser goes: by a redirect, or by
// posting Form to it if that is not empty (HTTP-POST binding).
type Start struct {
	URL       string  `json:"-"`
	Form      []Field `json:"-"`
	RequestID string  `json:"request_id,omitempty"` // SAML AuthnRequest ID, compared with InResponseTo
	Nonce     string  `json:"nonce,omitempty"`      // OIDC
	Verifier  string  `json:"verifier,omitempty"`   // PKCE code verifier
	// Issuer and Redirect are what an authorization request was made for: a provider
	// that is replaced while the person is there must not redeem his code (S30, O01).
	Issuer   string `json:"issuer,omitempty"`
	Redirect string `json:"redirect,omitempty"`
}

// Field is one hidden field of a form that a browser posts to an identity provider.
type Field struct{ Name, Value string }

// Info describes a provider to pages and logs.
type Info struct {
	ID       string
	Name     string
	Protocol string // "saml", "oidc" or "github"
}

// Provider is one identity provider. Implementations are safe for concurrent use.
type Provider interface {
	Info() Info
	// Begin makes an AuthnRequest or authorization request for l (l.ID is the
	// RelayState or state).
	Begin(ctx context.Context, l Login) (Start, error)
	// Receive reads the IdP's answer from the browser's request within strict
	// limits, without trusting any of it yet. It may read r.Body.
	Receive(w http.ResponseWriter, r *http.Request) (Response, error)
}

// Response is an answer read but not yet believed.
type Response interface {
	// LoginID is the RelayState or state, "" when there was none.
	LoginID() string
	// Unsolicited reports a SAML response without InResponseTo. It is never
	// accepted: the flow starts an SP-initiated sign-in instead (S13).
	Unsolicited() bool
	// Verify checks everything against exactly this Login and returns what the
	// IdP vouches for. Errors are *VerifyError (refused) or other (could not
	// tell: 502/503).
	Verify(ctx context.Context, l Login) (Assertion, error)
}

// Assertion is what an IdP vouches for, read only from verified bytes.
type Assertion struct {
	Identity member.Identity
	Profile  member.Profile
	// Known is what a provisioning connection knows the person by, where that is
	// not the Subject.
	Known  member.Known
	Groups []string
	// GroupsMissing says why Groups is empty although the IdP has some for the
	// person: nobody may take that for "in no group". "" = Groups is what it says.
	GroupsMissing string
	SessionIndex  string
	SessionEnd    time.Time // SessionNotOnOrAfter; zero = no cap
	AuthTime      time.Time // AuthnInstant or auth_time; zero = the provider does not say
	ReplayKey     string    // assertion id (with issuer); remembered before any session is made
	ReplayUntil   time.Time
	// SignOut is what the end of the session will need; Session, Member, Provider and
	// Expires are filled in when there is one. Its Hint is sealed where it is kept.
	SignOut SignOut `json:"-"`
	// RefreshToken is what the provider is asked again with, "" = nothing. A
	// secret: never stored as it is, never logged, never sent to a browser.
	RefreshToken string `json:"-"`
}

// VerifyError refuses a response. Reason is a machine word for log and audit;
// the browser sees neither it nor Err.
type VerifyError struct {
	Reason string // e.g. "signature_missing", "audience", "in_response_to"
	Err    error
}

func (e *VerifyError) Error() string {
	if e.Err == nil {
		return "sso: refused: " + e.Reason
	}
	return "sso: refused: " + e.Reason + ": " + e.Err.Error()
}

// Unwrap returns the cause.
func (e *VerifyError) Unwrap() error { return e.Err }

// RecordKind separates the kinds of record in a [Pending] store.
type RecordKind string

// Record kinds.
const (
	KindLogin     RecordKind = "login"
	KindCode      RecordKind = "code"    // completion code -> outcome
	KindHandoff   RecordKind = "handoff" // hand-off code -> sealed session id
	KindUsed      RecordKind = "used"    // used code -> where its browser went
	KindAssertion RecordKind = "assertion"
	KindAccept    RecordKind = "accept"  // accept code -> outcome, while the person reads the invitation page
	KindLeaving   RecordKind = "leaving" // a browser that signs out at its IdP too
	KindForm      RecordKind = "form"    // a form that waits while somebody signs in again, see proxy.FormStore
	KindBounce    RecordKind = "bounce"  // a browser was sent on once for an unsolicited response

	// The lane of tests (see testrun.go). Live code never reads them.
	KindTestLink  RecordKind = "testlink"
	KindTestLogin RecordKind = "testlogin"
	KindTestCode  RecordKind = "testcode" // completion code -> report, until its browser comes back
	KindReport    RecordKind = "report"
)

// Key names a pending record.
type Key struct {
	Kind RecordKind
	Hash secret.Hash
}

// Errors of a Pending store. Any other error means it could not answer: 503.
var (
	ErrNoRecord = errors.New("sso: no such pending record")
	ErrUsed     = errors.New("sso: already used")
	// ErrFull: the hard budget for anonymous records is spent (C13): 429.
	ErrFull = errors.New("sso: too many pending sign-ins")
)

// Pending keeps short-lived single-use records. Implementations: store/redis
// and store/sql; both pass ssotest.Pending. Expired records are never returned.
// Values are at most 16 KiB.
type Pending interface {
	// Put writes or overwrites a record. A new one beyond the budget is ErrFull.
	Put(ctx context.Context, k Key, value []byte, until time.Time) error
	Get(ctx context.Context, k Key) ([]byte, error)
	// Take returns and deletes all keys in one atomic step: if any is missing,
	// none is deleted and ErrNoRecord is returned. At most one caller ever wins.
	Take(ctx context.Context, keys ...Key) ([][]byte, error)
	// Once records k as used until then; a second call answers ErrUsed.
	Once(ctx context.Context, k Key, until time.Time) error
}
