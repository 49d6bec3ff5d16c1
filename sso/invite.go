package sso

import (
	"context"
	"errors"
	"net/http"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/internal/web"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
)

// maxInvitation bounds a token in a path; ours have 43 characters.
const maxInvitation = 64

// invitation shows what an invitation's link leads to. It has no effect: scanners
// of mail servers open every link before the person does (row I01).
func (f *Flow) invitation(w http.ResponseWriter, r *http.Request) {
	i, _, ok := f.invited(w, r, func(ctx context.Context, hash string) (member.Invitation, error) {
		i, _, err := f.Directory.LookInvitation(ctx, hash)
		return i, err
	})
	if !ok {
		return
	}
	name := f.Live.Load().Organization.Name
	w.Header().Set("Cache-Control", "no-store")
	// The address of this page is the invitation: what all our pages set tells it to
	// no other origin (Referrer-Policy: same-origin).
	f.page(w, r, web.Page{
		Status: http.StatusOK, Title: "You are invited to " + name, Account: i.Email,
		Lead:    "To accept, continue and sign in with your work account. The invitation counts for this address only.",
		Actions: []web.Action{{Label: "Continue", URL: r.URL.EscapedPath(), Method: http.MethodPost}},
		Support: f.Live.Load().Organization.Support,
	})
}

// openInvitation begins a sign-in that carries the invitation. It is accepted only
// when that sign-in ends, by the person it was sent to.
func (f *Flow) openInvitation(w http.ResponseWriter, r *http.Request) {
	i, hash, ok := f.invited(w, r, f.Directory.OpenInvitation)
	if !ok {
		return
	}
	b, err := f.cookies.Binding(w, r, session.Gateway)
	if err != nil {
		f.unavailable(w, r, err)
		return
	}
	l := Login{Invitation: hash, Binding: b.String()}
	if err := f.newLogin(r.Context(), &l); err != nil {
		f.storeFailed(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Referrer-Policy", "no-referrer")
	next := "/login?id=" + l.ID
	if f.Providers(i.Provider) != nil {
		next = f.loginURL(l, i.Provider)
	}
	http.Redirect(w, r, next, http.StatusSeeOther)
}

// invited reads the invitation of a request's path, and answers the request where
// there is none that can be used.
func (f *Flow) invited(
	w http.ResponseWriter, r *http.Request, read func(ctx context.Context, hash string) (member.Invitation, error),
) (i member.Invitation, hash string, ok bool) {
	hash, ok = invitationHash(r)
	if !ok {
		f.invitationOver(w, r)
		return i, "", false
	}
	i, err := read(r.Context(), hash)
	switch {
	case errors.Is(err, member.ErrInvitation):
		f.invitationOver(w, r)
		return i, "", false
	case err != nil:
		f.unavailable(w, r, err)
		return i, "", false
	}
	return i, hash, true
}

// invitationOver is one answer for every invitation that cannot be used, so that
// nobody can find out by trying which ones exist.
func (f *Flow) invitationOver(w http.ResponseWriter, r *http.Request) {
	f.refuse(w, r, "", "invitation_over", nil, f.again(http.StatusGone, "This invitation cannot be used",
		"It was used already, has expired, or was taken back. If you have accepted it before, sign in; otherwise ask for another one.", ""))
}

// invitationHash is what the directory knows a token by.
func invitationHash(r *http.Request) (string, bool) {
	token := r.PathValue("token")
	if token == "" || len(token) > maxInvitation {
		return "", false
	}
	return secret.Sum(token).String(), true
}
