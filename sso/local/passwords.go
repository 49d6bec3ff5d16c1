package local

import (
	"errors"
	"net/http"

	"github.com/ssogate/ssogate/internal/web"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
)

// off answers that passwords do not count while Require SSO is on.
func (p *Pages) off(w http.ResponseWriter, r *http.Request) bool {
	if !p.Live.Load().RequireSSO {
		return false
	}
	web.Annotate(r.Context(), "reason", "require_sso")
	p.page(w, r, web.Page{Status: http.StatusForbidden, Title: textRequired, Lead: textRequiredLead, Actions: []web.Action{{Label: textSignIn, URL: "/login"}}})
	return true
}

// mute answers that nobody can be written to here.
func (p *Pages) mute(w http.ResponseWriter, r *http.Request) bool {
	if p.Service.Notices != nil {
		return false
	}
	p.page(w, r, web.Page{Status: http.StatusNotFound, Title: textForgotten, Lead: textMuteLead, Actions: []web.Action{{Label: textUsual, URL: "/login"}}})
	return true
}

// reset asks whose password it is.
func (p *Pages) reset(w http.ResponseWriter, r *http.Request) {
	if p.off(w, r) || p.mute(w, r) {
		return
	}
	p.page(w, r, web.Page{Status: http.StatusOK, Title: textForgotten, Lead: textForgottenLead, Form: &web.Form{
		URL: ResetPath, Button: textSendLink, Inputs: []web.Input{{Label: textUserName, Name: "user", Type: "text", Hint: "username", Max: member.MaxUserName}},
	}})
}

// askReset says the same to everybody.
func (p *Pages) askReset(w http.ResponseWriter, r *http.Request) {
	if p.off(w, r) || p.mute(w, r) || !p.form(w, r) {
		return
	}
	if err := p.Service.AskReset(r.Context(), r.PostForm.Get("user"), client(r)); err != nil {
		p.failed(w, r, err)
		return
	}
	p.page(w, r, web.Page{Status: http.StatusOK, Title: textLook, Lead: textLookLead})
}

// member answers who is signed in, or has refused the request.
func (p *Pages) member(w http.ResponseWriter, r *http.Request) *session.Principal {
	who, err := p.Members.AdmitGateway(r.Context(), r)
	switch {
	case err == nil && who != nil:
		web.Annotate(r.Context(), "member", string(who.Member.ID))
		return who
	case session.Reason(err) == "store_unavailable":
		p.failed(w, r, err)
		return nil
	}
	web.Annotate(r.Context(), "reason", session.Reason(err))
	p.page(w, r, web.Page{Status: http.StatusUnauthorized, Title: textSignedOut, Lead: textSignedOutLead, Actions: []web.Action{{Label: textSignIn, URL: "/login?return=%2Fme"}}})
	return nil
}

// own is where a member who is signed in sets his password.
func (p *Pages) own(w http.ResponseWriter, r *http.Request) {
	if p.off(w, r) {
		return
	}
	switch who := p.member(w, r); {
	case who == nil:
	case who.Member.Fallback:
		p.onHost(w, r)
	default:
		p.ownForm(w, r, who.Member, http.StatusOK, setupFaults{}, "")
	}
}

// onHost sends a fallback owner to whoever runs the host: his password goes with codes.
func (p *Pages) onHost(w http.ResponseWriter, r *http.Request) {
	p.page(w, r, web.Page{Status: http.StatusForbidden, Title: textHost, Lead: textHostLead, Actions: []web.Action{{Label: textAccount, URL: "/me"}}})
}

func (p *Pages) ownForm(w http.ResponseWriter, r *http.Request, m member.Member, status int, f setupFaults, wrong string) {
	page := web.Page{Status: status, Title: textNewPassword, Lead: textOwnLead, Account: m.UserName, Actions: []web.Action{{Label: textAccount, URL: "/me", Quiet: true}}}
	page.Form = &web.Form{URL: OwnPath, Button: textSetPassword, Inputs: append([]web.Input{{
		Label: textOldPassword, Name: "old", Type: "password", Hint: "current-password", Help: textOldHelp, Fault: wrong, Max: MaxPassword, Optional: true,
	}}, newPassword(f)...)}
	p.page(w, r, page)
}

func (p *Pages) setOwn(w http.ResponseWriter, r *http.Request) {
	if p.off(w, r) || !p.form(w, r) {
		return
	}
	who := p.member(w, r)
	if who == nil {
		return
	}
	f, err := chosen(r.PostForm.Get("password"), r.PostForm.Get("again"), who.Member)
	if err == nil {
		err = p.Service.ChangeOwn(r.Context(), who.Member, r.PostForm.Get("old"), r.PostForm.Get("password"), client(r))
	}
	switch {
	case f != (setupFaults{}):
		p.ownForm(w, r, who.Member, http.StatusUnprocessableEntity, f, "")
	case errors.Is(err, ErrWrong):
		p.ownForm(w, r, who.Member, http.StatusUnprocessableEntity, f, textOldWrong)
	case errors.Is(err, member.ErrFallback):
		p.onHost(w, r)
	case err != nil:
		p.failed(w, r, err)
	default:
		p.page(w, r, web.Page{Status: http.StatusOK, Title: textSet, Lead: textOwnSetLead, Account: who.Member.UserName, Actions: []web.Action{{Label: textAccount, URL: "/me"}}})
	}
}
