package sso

import (
	"encoding/json"
	"net/http"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/internal/web"
	"github.com/ssogate/ssogate/session"
)

func logoutPath(d session.Door) string {
	if d == session.App {
		return "/.sso/logout"
	}
	return "/logout"
}

func (f *Flow) admitAt(r *http.Request, d session.Door) (*session.Principal, error) {
	if d == session.App {
		return f.Sessions.Admit(r.Context(), r)
	}
	return f.Sessions.AdmitGateway(r.Context(), r)
}

// logoutPage asks first: a GET never signs anyone out, so an image on another
// site cannot (row K05).
func (f *Flow) logoutPage(d session.Door) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		p, err := f.admitAt(r, d)
		if session.Reason(err) == "store_unavailable" {
			f.unavailable(w, r, err)
			return
		}
		var fields []web.Field
		page := web.Page{Status: http.StatusOK, Title: "Sign out?", Lead: "You will be signed out of every application behind this gateway."}
		label := "Sign out"
		if param(r, "again", 1) == "1" {
			fields = []web.Field{{Name: "again", Value: "1"}}
			label, page.Title = "Use another account", "Use another account?"
		}
		if p != nil {
			page.Account = p.Member.UserName
		}
		page.Actions = []web.Action{{Label: label, URL: logoutPath(d), Method: http.MethodPost, Fields: fields}}
		f.page(w, r, page)
	}
}

// logout ends the session everywhere before it answers (G1), then forgets this
// origin's cookies. The cookies of other origins point at a session that is gone.
func (f *Flow) logout(d session.Door) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
		again := r.ParseForm() == nil && r.PostForm.Get("again") == "1"
		p, err := f.admitAt(r, d)
		if session.Reason(err) == "store_unavailable" {
			f.unavailable(w, r, err)
			return
		}
		next := ""
		if err == nil {
			if err := f.end(r, p); err != nil {
				f.unavailable(w, r, err)
				return
			}
			if !again {
				next = f.wayOut(ctx, p)
			}
		}
		f.cookies.ClearSession(w, d)
		f.cookies.RotateBinding(w, d)
		if again {
			f.anotherAccount(w, r, d)
			return
		}
		if next != "" {
			f.page(w, r, web.Page{
				Status: http.StatusOK, Title: "You are signed out", Lead: "Now " + f.nameOf(p.Provider) + " signs you out too.", Refresh: next,
			})
			return
		}
		home := "/"
		if d == session.Gateway {
			home = f.landing(Login{})
		}
		f.page(w, r, web.Page{
			Status: http.StatusOK, Title: "You are signed out", Lead: "You are no longer signed in to any application behind this gateway. Your identity provider may still know you.",
			Actions: []web.Action{{Label: "Sign in again", URL: home}, {Label: "Use another account", URL: logoutPath(d) + "?again=1", Quiet: true}},
		})
	}
}

// end ends a session as its person asks, everywhere before it returns (G1).
func (f *Flow) end(r *http.Request, p *session.Principal) error {
	ctx := r.Context()
	by := f.actor(r, "member:"+string(p.Member.ID))
	if err := f.Sessions.End(ctx, by, p, "logout"); err != nil {
		return err
	}
	e := f.event(r, "signout", audit.Allowed, p.Provider, "")
	e.Actor, e.Target = by.Name, "session:"+p.Session.Short()
	if err := f.Audit.Record(ctx, e); err != nil {
		f.Log.ErrorContext(ctx, "audit event lost", "kind", e.Kind, "err", err)
	}
	if f.SignedOut != nil {
		f.SignedOut(p)
	}
	return nil
}

// SignOut is the sign-out of a person whom an application has signed out: what
// /.sso/logout does, without a page of ours and without the way out at the identity
// provider. After an error the session may go on.
func (f *Flow) SignOut(w http.ResponseWriter, r *http.Request, p *session.Principal) error {
	if err := f.end(r, p); err != nil {
		return err
	}
	f.cookies.ClearSession(w, session.App)
	f.cookies.RotateBinding(w, session.App)
	return nil
}

// anotherAccount begins a sign-in in which the IdP must ask for credentials.
func (f *Flow) anotherAccount(w http.ResponseWriter, r *http.Request, d session.Door) {
	if d == session.Gateway {
		f.moveOn(w, r, "/login?force=1")
		return
	}
	origin := f.origin(r)
	// The binding cookie was just cleared on this very answer; a new one replaces it,
	// so the old value cannot serve the next person.
	r2 := r.Clone(r.Context())
	r2.Header.Del("Cookie")
	w.Header().Del("Set-Cookie")
	f.cookies.ClearSession(w, d)
	u, err := f.begin(w, r2, Login{AppHost: origin, ReturnPath: "/", ForceAuthn: true})
	if err != nil {
		f.storeFailed(w, r, err)
		return
	}
	f.moveOn(w, r, u)
}

// origin is the app origin a request came to, or "" when it is none of ours.
func (f *Flow) origin(r *http.Request) string {
	for _, scheme := range []string{"https://", "http://"} {
		if o := scheme + r.Host; f.Origins(o) {
			return o
		}
	}
	return ""
}

// whoami tells a page of the application who is signed in, and nothing else.
func (f *Flow) whoami(w http.ResponseWriter, r *http.Request) {
	p, err := f.Sessions.Admit(r.Context(), r)
	switch reason := session.Reason(err); {
	case reason == "store_unavailable":
		w.Header().Set("Retry-After", "5")
		web.WriteProblem(w, r, http.StatusServiceUnavailable, "Not known right now", "Try again in a few seconds.")
		return
	case err != nil:
		web.Annotate(r.Context(), "reason", reason)
		web.WriteProblem(w, r, http.StatusUnauthorized, "Not signed in", "Load a page of the application to sign in.")
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_ = json.NewEncoder(w).Encode(map[string]any{ // the client is gone when this fails
		"id": p.Member.ID, "user_name": p.Member.UserName, "display_name": p.Member.DisplayName, "email": p.Member.Email,
		"teams": p.Teams, "role": p.Member.Role, "provider": p.Provider, "expires": p.Expires,
	})
}
