package console

import (
	"errors"
	"net/http"

	"github.com/ssogate/ssogate/internal/web"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
)

// seenPath is where an owner says that he has seen a use of the break-glass way in.
const seenPath = "/me/fallback/seen"

// usesOfFallback tells an owner who came in past the identity provider, until an owner
// has acknowledged it.
func (c *Console) usesOfFallback(r *http.Request, p *session.Principal) []web.List {
	if p.Member.Role != member.RoleOwner {
		return nil
	}
	out := web.List{Title: "Fallback owners who signed in"}
	uses, err := c.fallback.FallbackUses(r.Context())
	if err != nil {
		c.log.ErrorContext(r.Context(), "console: uses of the break-glass way in", "error", err, "request_id", web.RequestID(r.Context()))
		out.Items = []web.Item{{Title: "The list is not available for a moment", Lines: []string{"Load the page again in a few seconds."}}}
		return []web.List{out}
	}
	if len(uses) == 0 {
		return nil
	}
	for _, u := range uses {
		factor := "a recovery code"
		if u.Factor == "totp" {
			factor = "an authenticator app"
		}
		item := web.Item{Title: u.UserName, Lines: []string{stamp(u.At) + ", with password and " + factor}, Mark: "break-glass"}
		if u.Address != "" {
			item.Lines = append(item.Lines, "From "+u.Address)
		}
		if mayAcknowledge(p) {
			item.Hidden = "the sign-in of " + u.UserName + " of " + stamp(u.At)
			item.Action = &web.Action{Label: "I know of it", URL: seenPath, Method: http.MethodPost, Fields: []web.Field{{Name: "use", Value: u.ID}}}
		} else {
			item.Lines = append(item.Lines, "Shown until an owner who signed in the usual way knows of it")
		}
		out.Items = append(out.Items, item)
	}
	return []web.List{out}
}

// mayAcknowledge reports whether the principal may take a use off the list: an owner,
// but not by the very way in that the list is about. Whoever came in by stolen
// codes would take his own traces off first.
func mayAcknowledge(p *session.Principal) bool {
	return p.Member.Role == member.RoleOwner && p.Provider != session.FallbackProvider
}

func (c *Console) acknowledge(w http.ResponseWriter, r *http.Request) {
	p := c.admit(w, r)
	if p == nil {
		return
	}
	if !mayAcknowledge(p) {
		web.Annotate(r.Context(), "reason", "not_an_owner")
		c.own(w, r, http.StatusForbidden, "That is for owners",
			"An owner who is signed in through the identity provider, or with a password, can do it. Nothing was changed.")
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxOwnForm)
	use := r.PostFormValue("use")
	if use == "" || len(use) > maxHandle {
		c.own(w, r, http.StatusBadRequest, "Which sign-in?", "The request did not name one. Go back to your account and press the button beside it.")
		return
	}
	err := c.fallback.AcknowledgeFallback(r.Context(), use, actor(r, p), c.now())
	// Another owner may have been faster: what was asked for is done.
	if err != nil && !errors.Is(err, member.ErrNotFound) {
		c.log.ErrorContext(r.Context(), "console: acknowledge", "error", err, "request_id", web.RequestID(r.Context()))
		w.Header().Set("Retry-After", "5")
		c.own(w, r, http.StatusServiceUnavailable, "Not available for a moment", "Nothing was changed. Go back to your account and try again in a few seconds.")
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	http.Redirect(w, r, "/me", http.StatusSeeOther)
}
