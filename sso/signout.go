package sso

import (
	"context"
	"net/http"
	"time"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
)

// maxHint bounds a [SignOut.Hint], in bytes: a pending sign-in has 16 KiB for
// everything.
const maxHint = 3 << 10

// SignOut is what a sign-in leaves behind for the end of its session: how the
// identity provider names the person and his session there. It is kept per session,
// sealed, until the session's end.
type SignOut struct {
	Session  secret.Hash
	Member   member.ID
	Provider string
	Person   string // what the provider calls him in a logout: NameID or sub
	Index    string // its own session: SessionIndex or sid, "" = none
	// Hint is the provider's own note, such as the ID token that goes back as
	// id_token_hint. A secret; nil where there is none.
	Hint    []byte
	Expires time.Time // the session's absolute end
}

// SignOuts keep them. store/sql is the real one; every implementation passes
// ssotest.SignOuts. Safe for concurrent use by several nodes.
type SignOuts interface {
	// Keep stores one, durably when it returns nil. Hint is given sealed.
	Keep(ctx context.Context, s SignOut) error
	// Of answers that of a session, or [ErrNoRecord].
	Of(ctx context.Context, session secret.Hash) (SignOut, error)
	// Named answers whom a provider's logout means: the members with sessions of this
	// person, and of those only with that index unless it is "". Without a person the
	// index alone counts. Both empty name nobody.
	Named(ctx context.Context, provider, person, index string, now time.Time) ([]member.ID, error)
}

// SingleLogout is a [Provider] with SAML 2.0 single logout (profiles, section 4.4).
type SingleLogout interface {
	// BeginSignOut makes a LogoutRequest with id as RelayState. ok is false when the
	// IdP has no such service.
	BeginSignOut(ctx context.Context, s SignOut, id string) (start Start, ok bool, err error)
	// ReceiveSignOut reads and verifies a LogoutRequest or LogoutResponse: what it
	// returns is believed. Errors are *VerifyError or "could not tell".
	ReceiveSignOut(w http.ResponseWriter, r *http.Request) (SignOutMessage, error)
	// AnswerSignOut makes the LogoutResponse to a request; ok is false when the IdP
	// names no place for it.
	AnswerSignOut(ctx context.Context, m SignOutMessage) (start Start, ok bool, err error)
}

// SignOutMessage is a verified message of single logout.
type SignOutMessage struct {
	Request    bool
	ID         string
	Issuer     string
	RelayState string
	Until      time.Time // of a request: how long its id is remembered

	Person  string   // of a request
	Indexes []string // of a request; empty means all of the person's sessions

	InResponseTo string // of a response
	Done         bool   // of a response: the IdP says that it is signed out
}

// FrontLogout is a [Provider] that a browser is sent to at the end of a session:
// OpenID Connect RP-Initiated Logout 1.0.
type FrontLogout interface {
	// BeginSignOut makes the URL, with id as state. ok is false when the provider has no
	// end_session_endpoint.
	BeginSignOut(ctx context.Context, s SignOut, id string) (start Start, ok bool, err error)
}

// BackLogout is a [Provider] that tells of a sign-out server to server: OpenID
// Connect Back-Channel Logout 1.0.
type BackLogout interface {
	// ReceiveLogoutToken reads and verifies a logout token. Errors are *VerifyError
	// (400) or "could not tell".
	ReceiveLogoutToken(w http.ResponseWriter, r *http.Request) (LogoutToken, error)
}

// LogoutToken is a verified logout token. Person or Index is set.
type LogoutToken struct {
	ID     string // jti with issuer: refused the second time
	Person string
	Index  string
	Until  time.Time // how long ID is remembered
}
