package console

import (
	"errors"
	"net/http"

	"github.com/ssogate/ssogate/internal/web"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
	"github.com/ssogate/ssogate/settings"
)

// Paths of the forms on a member's own page.
const (
	endOnePath = "/me/sessions/end"
	endAllPath = "/me/sessions/end-all"
)

const (
	maxOwnForm = 4 << 10 // bytes of such a form
	maxHandle  = 64
	// reasonOwn is the audit log's word for what a member ended himself.
	reasonOwn = "own_page"
)

// ownSessions is the section that lists the sessions of p's member.
func ownSessions(s *settings.Settings, p *session.Principal, list []session.Record, err error) web.List {
	out := web.List{Title: "Where you are signed in"}
	if err != nil {
		out.Items = []web.Item{{Title: "The list is not available for a moment", Lines: []string{"Your sessions go on. Load the page again in a few seconds."}}}
		return out
	}
	for _, r := range list {
		device := session.Device(r.UserAgent)
		item := web.Item{Title: device, Lines: []string{
			"Signed in " + stamp(r.Issued) + " with " + providerName(s, r.Provider),
			"Last used " + stamp(r.LastSeen),
		}}
		if r.Address != "" {
			item.Lines[0] += ", from " + r.Address
		}
		if r.Hash == p.Session {
			item.Mark = "this browser" // it has the button to sign out
		} else {
			item.Hidden = "the session on " + device + " of " + stamp(r.Issued)
			item.Action = &web.Action{
				Label: "End", URL: endOnePath, Method: http.MethodPost,
				Fields: []web.Field{{Name: "session", Value: r.Handle()}},
			}
		}
		out.Items = append(out.Items, item)
	}
	return out
}

// providerName is what people call a provider; one that is gone keeps its id.
func providerName(s *settings.Settings, id string) string {
	switch id {
	case session.FallbackProvider:
		return "password and one-time code"
	case session.PasswordProvider:
		return "password"
	}
	for _, p := range s.Providers { // also one that was just switched off has a name
		if p.ID == id {
			return p.Name
		}
	}
	return id
}

// endOne ends one other session of the member who asks, on every node, before it
// answers (G1).
func (c *Console) endOne(w http.ResponseWriter, r *http.Request) {
	p := c.admit(w, r)
	if p == nil {
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxOwnForm)
	handle := r.PostFormValue("session")
	if handle == "" || len(handle) > maxHandle {
		c.own(w, r, http.StatusBadRequest, "Which session?", "The request did not name one. Go back to your account and press the button beside it.")
		return
	}
	_, err := c.sessions.EndOne(r.Context(), actor(r, p), p.Member.ID, handle, reasonOwn)
	// One that is over already is what was asked for: pressed twice, or expired meanwhile.
	if err != nil && !errors.Is(err, session.ErrNotFound) {
		c.unconfirmed(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, "/me", http.StatusSeeOther)
}

// endAll signs the member who asks out everywhere, this browser included.
func (c *Console) endAll(w http.ResponseWriter, r *http.Request) {
	p := c.admit(w, r)
	if p == nil {
		return
	}
	if err := c.sessions.EndAll(r.Context(), actor(r, p), p.Member.ID, reasonOwn); err != nil {
		c.unconfirmed(w, r, err)
		return
	}
	web.WritePage(w, r, web.Page{
		Status: http.StatusOK, Title: "You are signed out everywhere",
		Lead: "All your sessions here have ended, in this browser too, and what they had open was closed. " +
			"Your identity provider may still know this browser: on a shared computer sign out there as well.",
		Account: p.Member.UserName, Support: c.live.Load().Organization.Support,
		Actions: []web.Action{{Label: "Sign in again", URL: signIn}},
	})
}

// unconfirmed is the answer when an end could not be stored, or not be confirmed by
// every node. Asking again is harmless and waits again.
func (c *Console) unconfirmed(w http.ResponseWriter, r *http.Request, err error) {
	c.log.ErrorContext(r.Context(), "console: end sessions", "error", err, "request_id", web.RequestID(r.Context()))
	w.Header().Set("Retry-After", "5")
	c.own(w, r, http.StatusServiceUnavailable, "That could not be confirmed",
		"It is not certain that the session has ended everywhere. Go back to your account in a few seconds and end it again.")
}

// own is a short answer that leads back to the member's page.
func (c *Console) own(w http.ResponseWriter, r *http.Request, status int, title, lead string) {
	web.WritePage(w, r, web.Page{
		Status: status, Title: title, Lead: lead, Support: c.live.Load().Organization.Support,
		Actions: []web.Action{{Label: "Your account", URL: "/me"}},
	})
}

// actor is the member who asks, for the audit log.
func actor(r *http.Request, p *session.Principal) member.Actor {
	a := member.Actor{Name: p.Actor(), RequestID: web.RequestID(r.Context())}
	if addr := web.ClientAddr(r.Context()); addr.IsValid() {
		a.Address = addr.String()
	}
	return a
}
