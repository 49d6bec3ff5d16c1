package sso

import (
	"context"
	"errors"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/internal/web"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
)

const (
	passwordPath = "/login/password"
	// maxPasswordForm is room for a user name and a password at their longest.
	maxPasswordForm = 4 << 10
)

// LocalSignIn signs members in by a password that they have here. It is asked only
// while Require SSO is off. sso/local is the real one.
type LocalSignIn interface {
	// SignIn answers the member, as of a moment after the password was compared:
	// [ErrCredentials], *[WaitError]; any other error means that it cannot be told now.
	SignIn(ctx context.Context, user, password string, from netip.Addr, request string) (member.Member, error)
	// InUse reports whether any member has a password.
	InUse(ctx context.Context) (bool, error)
}

// ErrCredentials is the one answer to every wrong user name or password.
var ErrCredentials = errors.New("sso: wrong user name or password")

// WaitError asks to come again later.
type WaitError struct{ Wait time.Duration }

func (e *WaitError) Error() string { return "sso: come again in " + e.Wait.String() }

// passwords reports whether passwords count, and anybody has one. When that cannot be
// told they are not offered: the way through a provider does not wait for it.
func (f *Flow) passwords(ctx context.Context) bool {
	if f.Local == nil || f.Live.Load().RequireSSO {
		return false
	}
	used, err := f.Local.InUse(ctx)
	return err == nil && used
}

// rescue is the plain link of fallback owners.
func (f *Flow) rescue() []web.Action {
	if f.Local == nil {
		return nil
	}
	return []web.Action{{Label: "Fallback owner", URL: "/fallback", Quiet: true}}
}

// passwordURL is the same sign-in with a password.
func (f *Flow) passwordURL(l Login) string {
	return passwordPath + strings.TrimPrefix(f.loginURL(l, ""), "/login")
}

// passwordPage shows the form, and ties the sign-in to this browser: a form that
// another site fills in signs nobody in (row K01).
func (f *Flow) passwordPage(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	l := Login{ForceAuthn: param(r, "force", 1) == "1"}
	if back := param(r, "return", 2048); back != "" {
		l.ReturnPath = web.SafeGatewayReturn(back, "/me")
	}
	if id := param(r, "id", maxID); id != "" {
		var err error
		if l, err = f.loadLogin(ctx, id); errors.Is(err, ErrNoRecord) {
			f.passwordExpired(w, r)
			return
		} else if err != nil {
			f.storeFailed(w, r, err)
			return
		}
	}
	if f.Local == nil || f.Live.Load().RequireSSO {
		w.Header().Set("Cache-Control", "no-store")
		http.Redirect(w, r, f.loginURL(l, ""), http.StatusSeeOther)
		return
	}
	l.Invitation = "" // it is accepted by whoever the identity provider vouches for
	if !f.bind(w, r, &l, session.PasswordProvider) {
		return
	}
	if err := f.putJSON(ctx, key(KindLogin, l.ID), l, l.Expires); err != nil {
		f.storeFailed(w, r, err)
		return
	}
	f.passwordForm(w, r, http.StatusOK, l.ID, "", "")
}

func (f *Flow) passwordForm(w http.ResponseWriter, r *http.Request, status int, id, user, fault string) {
	f.page(w, r, web.Page{
		Status: status, Title: "Sign in to " + f.Live.Load().Organization.Name,
		Form: &web.Form{URL: passwordPath, Button: "Sign in", Fields: []web.Field{{Name: "id", Value: id}}, Inputs: []web.Input{
			{Label: "User name", Name: "user", Type: "text", Hint: "username", Value: user, Max: member.MaxUserName, Fault: fault},
			{Label: "Password", Name: "password", Type: "password", Hint: "current-password", Max: 128},
		}},
		Actions: []web.Action{{Label: "Sign in another way", URL: "/login?id=" + id, Quiet: true}, {Label: "Forgotten your password?", URL: "/password/reset", Quiet: true}},
	})
}

func (f *Flow) passwordExpired(w http.ResponseWriter, r *http.Request) {
	f.refuse(w, r, session.PasswordProvider, "login_expired", nil, f.again(http.StatusGone, "This sign-in has expired",
		"It was begun more than an hour ago or has been used already. Go back to the application, or sign in again here.", ""))
}

// byPassword signs a member in. While Require SSO is on what was sent is not even
// read: the answer leads into the usual sign-in.
func (f *Flow) byPassword(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	if f.Local == nil || f.Live.Load().RequireSSO {
		web.Annotate(ctx, "reason", "require_sso")
		f.moveOn(w, r, "/login")
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, maxPasswordForm)
	if err := r.ParseForm(); err != nil {
		f.page(w, r, f.again(http.StatusBadRequest, "That did not work", "The form was incomplete or too long.", ""))
		return
	}
	l, err := f.loadLogin(ctx, r.PostForm.Get("id"))
	if err == nil {
		if b, ok := f.cookies.Bound(r, session.Gateway); !ok || !matches(b, l.Binding) || l.Provider != session.PasswordProvider {
			err = ErrNoRecord // another browser's
		}
	}
	switch {
	case errors.Is(err, ErrNoRecord):
		f.passwordExpired(w, r)
		return
	case err != nil:
		f.storeFailed(w, r, err)
		return
	}
	user := r.PostForm.Get("user")
	m, err := f.Local.SignIn(ctx, user, r.PostForm.Get("password"), web.ClientAddr(ctx), web.RequestID(ctx))
	var wait *WaitError
	switch {
	case errors.Is(err, ErrCredentials):
		f.results.WithLabelValues(session.PasswordProvider, "refused").Inc()
		web.Annotate(ctx, "reason", "wrong_credentials")
		f.passwordForm(w, r, http.StatusUnprocessableEntity, l.ID, user, "User name or password are wrong.")
		return
	case errors.As(err, &wait):
		web.Annotate(ctx, "reason", "slowed")
		f.page(w, r, web.Page{
			Status: http.StatusTooManyRequests, Title: "Please wait a moment", Retry: wait.Wait,
			Lead:    "There were several wrong attempts, or many people are signing in. Try again in " + wait.Wait.String() + ".",
			Actions: []web.Action{{Label: "Try again", URL: "/login?id=" + l.ID}},
		})
		return
	case err != nil:
		f.unavailable(w, r, err)
		return
	}
	f.signedInLocally(w, r, l, m)
}

// signedInLocally makes the session. The Login goes first: a form that is sent twice
// makes one session.
func (f *Flow) signedInLocally(w http.ResponseWriter, r *http.Request, l Login, m member.Member) {
	if _, err := f.Pending.Take(r.Context(), key(KindLogin, l.ID)); errors.Is(err, ErrNoRecord) {
		f.passwordExpired(w, r)
		return
	} else if err != nil {
		f.storeFailed(w, r, err)
		return
	}
	f.clients.giveBack(r.Context(), clientOf(r))
	o := outcome{Login: l, LoginHash: secret.Sum(l.ID)}
	o.Assertion.Identity.Provider, o.Assertion.AuthTime = session.PasswordProvider, f.Now()
	f.start(w, r, o, m, true)
}
