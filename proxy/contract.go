package proxy

import (
	"context"
	"net/http"
	"time"

	"github.com/ssogate/ssogate/proxy/assertion"
	"github.com/ssogate/ssogate/session"
)

// Sessions admits requests. *session.Manager is the real one.
type Sessions interface {
	// Admit reads the app origin's session cookie from r and answers who it is.
	// Errors: see session.ErrNoCookie and its neighbours; others are 503.
	Admit(ctx context.Context, r *http.Request) (*session.Principal, error)
	// Again is Admit for what was admitted before and still runs: no use of the
	// session, and not bound by its idle limit. It must also answer while a
	// revocation is being applied: [Live.Cut] asks it then.
	Again(ctx context.Context, r *http.Request) (*session.Principal, error)
	// Still re-checks a principal after it was registered (C10): false means a
	// revocation was applied since it was read.
	Still(p *session.Principal) bool
	// Expired answers whose session the cookie was, if that just ran out.
	Expired(ctx context.Context, r *http.Request) (session.Past, error)
	// IsOurCookie reports whether a cookie name belongs to ssogate: such cookies
	// are never forwarded, and an upstream may not set them.
	IsOurCookie(name string) bool
}

// SignIn starts a sign-in for a page load without a session. The real one is sso.Flow.
type SignIn interface {
	// BeginURL stores a pending Login and answers the gateway URL to send the
	// browser to; it may set the binding cookie on w. Errors: an error for which
	// TooMany reports true is 429, any other 503.
	BeginURL(w http.ResponseWriter, r *http.Request, b Begin) (string, error)
	TooMany(err error) bool
}

// Assertions has the keys that sign what applications are told. *assertion.Ring is the
// real one.
type Assertions interface {
	// Signer answers the key of an algorithm that signs now, or nil.
	Signer(a assertion.Algorithm, now time.Time) *assertion.Key
}

// Begin is what a sign-in is for. The type is the sign-in's word for word, since
// neither package may know the other.
type Begin = struct {
	Origin     string // the app origin to come back to
	ReturnPath string // path?query there, already canonical
	Fresh      bool   // credentials must be asked for, also of somebody who is signed in
}

// Verdict is what the gate decided. The zero value denies.
type Verdict string

// Verdicts.
const (
	Deny        Verdict = ""             // 403
	Admit       Verdict = "admit"        //
	Public      Verdict = "public"       // admitted without a session
	NeedSession Verdict = "need_session" // 302 or 401
	NotHere     Verdict = "not_here"     // no such route: 404, or 421 for an unknown host
	Malformed   Verdict = "malformed"    // 400, connection closed
	Unavailable Verdict = "unavailable"  // 503, nothing destroyed
)

// Decision is the one object behind page, log, audit, explain and forward-auth.
type Decision struct {
	Verdict Verdict
	Rule    string // which route and rule decided, e.g. "reports: teams"
	Reason  string // machine word, e.g. "team_missing"
}
