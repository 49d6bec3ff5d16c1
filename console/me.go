package console

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/web"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso/local"
)

// Sessions tells who a request to the gateway origin comes from, and lists and ends
// a member's sessions. *session.Manager is the real one.
type Sessions interface {
	AdmitGateway(ctx context.Context, r *http.Request) (*session.Principal, error)
	Sessions(ctx context.Context, id member.ID) ([]session.Record, error)
	EndOne(ctx context.Context, by member.Actor, id member.ID, handle, reason string) (session.Record, error)
	EndAll(ctx context.Context, by member.Actor, id member.ID, reason string) error
}

// FallbackUses are the uses of the break-glass way in. *sql.DB is the real one.
type FallbackUses interface {
	FallbackUses(ctx context.Context) ([]local.Use, error) // not acknowledged yet, newest first
	AcknowledgeFallback(ctx context.Context, id string, by member.Actor, at time.Time) error
}

// Options of [New]. Sessions, Fallback and Live are required.
type Options struct {
	Fallback FallbackUses
	Now      clock.Func // time.Now when nil
	Sessions Sessions
	Live     *settings.Live
	Log      *slog.Logger // nil discards
}

// Console serves the pages. Safe for concurrent use.
type Console struct {
	sessions Sessions
	fallback FallbackUses
	live     *settings.Live
	now      clock.Func
	log      *slog.Logger
}

// New makes a Console.
func New(o Options) (*Console, error) {
	if o.Sessions == nil || o.Fallback == nil || o.Live == nil {
		return nil, errors.New("console: needs sessions, uses of the break-glass way in, and live settings")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Console{sessions: o.Sessions, fallback: o.Fallback, live: o.Live, now: o.Now, log: o.Log}, nil
}

// Static serves /static/; see [web.Static].
func (c *Console) Static() http.Handler { return web.Static() }

// signIn is where somebody without a session goes; he comes back to /me.
const signIn = "/login?return=%2Fme"

// Me is a member's own page: GET /me, and the forms on it that end his sessions.
// Without a session it leads to the sign-in; while the stores cannot answer it is a
// 503 that changes nothing (G2). A form from another origin is refused (U01).
func (c *Console) Me() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /me", c.me)
	mux.HandleFunc("POST "+endOnePath, c.endOne)
	mux.HandleFunc("POST "+endAllPath, c.endAll)
	mux.HandleFunc("POST "+seenPath, c.acknowledge)
	mux.HandleFunc(seenPath, notAllowed(http.MethodPost))
	mux.HandleFunc(endOnePath, notAllowed(http.MethodPost))
	mux.HandleFunc(endAllPath, notAllowed(http.MethodPost))
	mux.HandleFunc("/me", notAllowed("GET, HEAD"))
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		web.WritePage(w, r, web.Page{
			Status: http.StatusNotFound, Title: "There is nothing here",
			Lead: "The address may be mistyped, or from another version.", Support: c.live.Load().Organization.Support,
			Actions: []web.Action{{Label: "Your account", URL: "/me"}},
		})
	})
	return web.SameOrigin(mux, func(w http.ResponseWriter, r *http.Request, p web.Page) { c.own(w, r, p.Status, p.Title, p.Lead) })
}

func notAllowed(allow string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Allow", allow)
		web.WriteProblem(w, r, http.StatusMethodNotAllowed, "method not allowed", "")
	}
}

// admit answers who is asking, or has refused the request and answers nil.
func (c *Console) admit(w http.ResponseWriter, r *http.Request) *session.Principal {
	p, err := c.sessions.AdmitGateway(r.Context(), r)
	if err == nil && p == nil { // an implementation that answers nothing admits nobody
		err = session.ErrNoCookie
	}
	if err != nil {
		c.refuse(w, r, c.live.Load().Organization.Support, err)
		return nil
	}
	web.Annotate(r.Context(), "member", string(p.Member.ID))
	return p
}

func (c *Console) me(w http.ResponseWriter, r *http.Request) {
	p := c.admit(w, r)
	if p == nil {
		return
	}
	s := c.live.Load()
	page := mePage(s, p)
	list, err := c.sessions.Sessions(r.Context(), p.Member.ID)
	if err != nil {
		// Who he is was known without the session store: that much he is told (fault of
		// Redis, not of his session).
		c.log.ErrorContext(r.Context(), "console: sessions of a member", "error", err, "request_id", web.RequestID(r.Context()))
	}
	own := ownSessions(s, p, list, err)
	page.Lists = append(c.usesOfFallback(r, p), own)
	if len(own.Items) > 1 {
		page.Actions = append(page.Actions, web.Action{Label: "Sign out everywhere", URL: endAllPath, Method: http.MethodPost})
	}
	web.WritePage(w, r, page)
}

// refuse is the answer to everybody who is not admitted.
func (c *Console) refuse(w http.ResponseWriter, r *http.Request, support string, err error) {
	web.Annotate(r.Context(), "reason", session.Reason(err))
	switch {
	case errors.Is(err, session.ErrMember):
		// Not to the sign-in: the IdP would send the same person straight back,
		// round and round (D02).
		web.WritePage(w, r, web.Page{
			Status: http.StatusForbidden, Title: "Your access is switched off",
			Lead:    "You are known here, but your membership is not active at the moment.",
			Support: support,
			Actions: []web.Action{{Label: "Sign out", URL: "/logout", Method: http.MethodPost}},
		})
	case errors.Is(err, session.ErrNoCookie), errors.Is(err, session.ErrBadCookie),
		errors.Is(err, session.ErrExpired), errors.Is(err, session.ErrRevoked):
		if r.Method == http.MethodPost {
			// Chromium holds what a form's answer leads to against form-action, and the
			// sign-in leads to the identity provider (W1): a link, not a redirect.
			web.WritePage(w, r, web.Page{
				Status: http.StatusUnauthorized, Title: "You are not signed in any more", Support: support,
				Lead:    "Nothing was changed. Sign in again, then repeat what you did.",
				Actions: []web.Action{{Label: "Sign in", URL: signIn}},
			})
			return
		}
		// A fixed path of this origin. K10: not even this redirect is kept.
		w.Header().Set("Cache-Control", "no-store")
		http.Redirect(w, r, signIn, http.StatusSeeOther)
	default:
		c.log.ErrorContext(r.Context(), "console: who is asking", "error", err, "request_id", web.RequestID(r.Context()))
		web.WritePage(w, r, web.Page{
			Status: http.StatusServiceUnavailable, Title: "Not available for a moment",
			Lead:  "Your session cannot be looked up right now. It is not lost: try again in a few seconds.",
			Retry: 5 * time.Second, Support: support,
			Actions: []web.Action{{Label: "Try again", URL: "/me"}},
		})
	}
}

func mePage(s *settings.Settings, p *session.Principal) web.Page {
	m := p.Member
	lead := "This browser is signed in here and can open the applications you have access to."
	if s.Organization.Name != "" {
		lead = "This browser is signed in to " + s.Organization.Name + " and can open the applications you have access to."
	}
	if p.Provider == session.FallbackProvider {
		lead = "This browser is signed in as a fallback owner: for half an hour, to the gateway's own pages and to no application."
	}
	facts := []web.Fact{{Label: "Name", Value: m.DisplayName}, {Label: "E-mail", Value: m.Email}}
	facts = append(facts,
		web.Fact{Label: "Signed in with", Value: providerName(s, p.Provider)},
		web.Fact{Label: "Teams", Value: strings.Join(p.Teams, ", ")},
		web.Fact{Label: "Signed in", Value: stamp(p.Issued)},
		web.Fact{Label: "Ends at the latest", Value: stamp(p.Expires)},
	)
	kept := facts[:0]
	for _, f := range facts {
		if f.Value != "" {
			kept = append(kept, f)
		}
	}
	actions := []web.Action{{Label: "Sign out", URL: "/logout", Method: http.MethodPost}}
	if !s.RequireSSO && !m.Fallback { // otherwise a password of his own is worth nothing
		actions = append(actions, web.Action{Label: "Set a password", URL: "/password"})
	}
	return web.Page{
		Status: http.StatusOK, Title: "You are signed in", Lead: lead, Account: m.UserName, Facts: kept,
		Actions: actions, Support: s.Organization.Support,
	}
}

// stamp is a time for people. UTC, because the server does not know theirs.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2 January 2006, 15:04 UTC")
}
