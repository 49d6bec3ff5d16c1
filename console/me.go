package console

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/ssogate/ssogate/internal/web"
	"github.com/ssogate/ssogate/session"
	"github.com/ssogate/ssogate/settings"
)

// Sessions tells who a request to the gateway origin comes from.
// *session.Manager is the real one.
type Sessions interface {
	AdmitGateway(ctx context.Context, r *http.Request) (*session.Principal, error)
}

// Options of [New]. Sessions and Live are required.
type Options struct {
	Sessions Sessions
	Live     *settings.Live
	Log      *slog.Logger // nil discards
}

// Console serves the pages. Safe for concurrent use.
type Console struct {
	sessions Sessions
	live     *settings.Live
	log      *slog.Logger
}

// New makes a Console.
func New(o Options) (*Console, error) {
	if o.Sessions == nil || o.Live == nil {
		return nil, errors.New("console: needs sessions and live settings")
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Console{sessions: o.Sessions, live: o.Live, log: o.Log}, nil
}

// Static serves /static/; see [web.Static].
func (c *Console) Static() http.Handler { return web.Static() }

// signIn is where somebody without a session goes; he comes back to /me.
const signIn = "/login?return=%2Fme"

// Me is a member's own page, GET /me. Without a session it leads to the
// sign-in; while the stores cannot answer it is a 503 that changes nothing (G2).
func (c *Console) Me() http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.Header().Set("Allow", "GET, HEAD")
			web.WriteProblem(w, r, http.StatusMethodNotAllowed, "method not allowed", "")
			return
		}
		s := c.live.Load()
		p, err := c.sessions.AdmitGateway(r.Context(), r)
		if err == nil && p == nil { // an implementation that answers nothing admits nobody
			err = session.ErrNoCookie
		}
		if err != nil {
			c.refuse(w, r, s.Organization.Support, err)
			return
		}
		web.Annotate(r.Context(), "member", string(p.Member.ID))
		web.WritePage(w, r, mePage(s, p))
	})
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
	provider := p.Provider
	for _, q := range s.Providers { // also one that was just switched off has a name
		if q.ID == p.Provider {
			provider = q.Name
		}
	}
	lead := "This browser is signed in here and can open the applications you have access to."
	if s.Organization.Name != "" {
		lead = "This browser is signed in to " + s.Organization.Name + " and can open the applications you have access to."
	}
	facts := []web.Fact{{Label: "Name", Value: m.DisplayName}, {Label: "E-mail", Value: m.Email}}
	facts = append(facts,
		web.Fact{Label: "Signed in with", Value: provider},
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
	return web.Page{
		Status: http.StatusOK, Title: "You are signed in", Lead: lead, Account: m.UserName, Facts: kept,
		Actions: []web.Action{{Label: "Sign out", URL: "/logout", Method: http.MethodPost}},
		Support: s.Organization.Support,
	}
}

// stamp is a time for people. UTC, because the server does not know theirs.
func stamp(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2 January 2006, 15:04 UTC")
}
