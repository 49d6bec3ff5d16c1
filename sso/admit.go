package sso

import (
	"encoding/json"
	"errors"
	"net/http"
	"time"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/internal/web"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
	"github.com/ssogate/ssogate/settings"
)

// minSession is the least that an IdP must allow (SessionNotOnOrAfter). A session that is
// over before the application has loaded would lead straight back to the IdP,
// round and round (D02); one that is over already cannot even be stored.
const minSession = 10 * time.Second

// actor is the browser, as the audit log names it.
func (f *Flow) actor(r *http.Request, name string) member.Actor {
	a := member.Actor{Name: name, RequestID: web.RequestID(r.Context())}
	if addr := web.ClientAddr(r.Context()); addr.IsValid() {
		a.Address = addr.String()
	}
	return a
}

// admit asks the directory who a verified person is, makes the session and sends
// the browser on. accepted is true when the person just pressed "accept".
func (f *Flow) admit(w http.ResponseWriter, r *http.Request, o outcome, accepted bool) {
	ctx, a := r.Context(), o.Assertion
	s := f.Live.Load()
	if o.Login.Kind != Live { // a test run ends in a report, never in a session (S30)
		f.refuse(w, r, a.Identity.Provider, "login_of_other_lane", nil, f.again(http.StatusForbidden, "Please sign in again",
			"This step belongs to a test of the configuration.", ""))
		return
	}
	if !a.SessionEnd.IsZero() && a.SessionEnd.Sub(f.Now()) < minSession {
		f.refuse(w, r, a.Identity.Provider, "session_over", nil, f.again(http.StatusForbidden, "Your sign-in has run out already",
			"Your identity provider allowed it for a time that is over. Sign in again; if this comes back, its clock or its session time is set wrongly.", a.Identity.Provider))
		return
	}
	p, ok := s.Provider(a.Identity.Provider)
	if !ok {
		f.refuse(w, r, a.Identity.Provider, "provider_disabled", nil, f.again(http.StatusForbidden, "Please sign in again",
			"The identity provider you came from has been switched off.", ""))
		return
	}
	login := memberLogin(s, p, a, f.actor(r, "signin:"+p.ID))
	login.Invitation, login.Accept = o.Login.Invitation, accepted
	m, err := f.Directory.Admit(ctx, login)
	var refusal *member.Refusal
	switch {
	case errors.As(err, &refusal):
		f.refused(w, r, o, refusal, accepted)
		return
	case err != nil:
		f.unavailable(w, r, err)
		return
	case !m.Admitted():
		f.refused(w, r, o, &member.Refusal{Member: m}, accepted)
		return
	}
	f.start(w, r, o, m, accepted)
}

// memberLogin is what the directory is asked about a verified person.
func memberLogin(s *settings.Settings, p settings.Provider, a Assertion, by member.Actor) member.Login {
	l := member.Login{
		Identity: a.Identity, Known: a.Known, Profile: a.Profile, Groups: a.Groups, GroupsMissing: a.GroupsMissing,
		Teams: p.Groups == settings.GroupsTeams, Join: p.Join, Actor: by,
	}
	if c, ok := s.ConnectionOf(p.ID); ok {
		l.Connection = &c.Connection
	}
	return l
}

// start makes the session, or keeps the one this browser already has for the
// same member, provider and level (W4), and ends one of somebody else.
func (f *Flow) start(w http.ResponseWriter, r *http.Request, o outcome, m member.Member, form bool) {
	ctx := r.Context()
	old, err := f.Sessions.AdmitGateway(ctx, r)
	switch {
	case err == nil && old.Member.ID == m.ID && old.Provider == o.Assertion.Identity.Provider && !o.Login.ForceAuthn:
		f.forward(w, r, o.Login, form)
		return
	case session.Reason(err) == "store_unavailable":
		f.unavailable(w, r, err)
		return
	}
	// The new session and the way to it first: were the old one ended before, a
	// store that fails in between would leave the person with none (G2).
	id, err := f.newSession(r, o, m)
	if err != nil {
		f.unavailable(w, r, err)
		return
	}
	next, err := f.wayOn(ctx, o.Login, id)
	if err != nil {
		f.storeFailed(w, r, err)
		return
	}
	if old != nil {
		if err := f.Sessions.End(ctx, f.actor(r, "member:"+string(old.Member.ID)), old, "signed_in_again"); err != nil {
			f.unavailable(w, r, err)
			return
		}
		if old.Member.ID != m.ID {
			f.cookies.RotateBinding(w, session.Gateway) // what the other account began ends with it (W2)
		}
	}
	if err := f.cookies.SetSession(w, session.Gateway, r.Host, id); err != nil {
		f.unavailable(w, r, err)
		return
	}
	web.Annotate(ctx, "member", string(m.ID))
	f.goOn(w, r, next, form)
}

// newSession makes the session of a sign-in, or answers the one that another tab
// of this browser has just made for the same person (W4).
func (f *Flow) newSession(r *http.Request, o outcome, m member.Member) (string, error) {
	ctx, provider := r.Context(), o.Assertion.Identity.Provider
	bound, ok := f.cookies.Bound(r, session.Gateway)
	if !ok { // the caller has compared it
		return "", errors.New("sso: sign-in without a binding")
	}
	e := f.starting.enter(startKey{bound, m.ID, m.Epoch, provider})
	defer e.mu.Unlock()
	if e.id != "" && !o.Login.ForceAuthn {
		switch err := f.Sessions.Good(ctx, e.id); {
		case err == nil:
			return e.id, nil
		case session.Reason(err) == "store_unavailable":
			return "", err
		}
	}
	ev := f.event(r, "signin", audit.Allowed, provider, "")
	ev.Actor, ev.Target = "member:"+string(m.ID), "member:"+string(m.ID)
	if err := f.Audit.Record(ctx, ev); err != nil {
		return "", err // no unaudited success
	}
	id, rec, err := f.Sessions.Start(ctx, session.Start{
		Member: m, Provider: provider, SessionIndex: o.Assertion.SessionIndex,
		NotAfter: o.Assertion.SessionEnd, AuthTime: o.Assertion.AuthTime, Address: ev.Address, UserAgent: r.UserAgent(),
	})
	if err != nil {
		return "", err
	}
	if err := f.keepGrant(ctx, f.actor(r, "signin:"+provider), m, rec, o.Assertion); err != nil {
		return "", err
	}
	e.id = id
	f.results.WithLabelValues(provider, "ok").Inc()
	return id, nil
}

// refused shows why a verified person may not pass. No page here leads back to
// the IdP by itself (D02).
func (f *Flow) refused(w http.ResponseWriter, r *http.Request, o outcome, ref *member.Refusal, accepted bool) {
	reason := string(ref.Code)
	if reason == "" {
		reason = "refused"
	}
	p := refusalPage(ref.Code, f.Live.Load().Organization.Name)
	p.Status = http.StatusForbidden
	p.Account = account(o.Assertion.Profile, ref.Member)
	// Whoever has just pressed it is not offered the same button again.
	if ref.Code == member.RefusedInvitationPending && !accepted {
		code := secret.NewToken()
		if err := f.putOutcome(r.Context(), KindAccept, code, o, f.Now().Add(acceptLifetime)); err != nil {
			f.storeFailed(w, r, err)
			return
		}
		p.Status = http.StatusOK
		p.Actions = []web.Action{{Label: "Accept the invitation", URL: "/complete/accept", Method: http.MethodPost, Fields: []web.Field{{Name: "code", Value: code}}}}
	}
	// Whoever has another account still wants the page he came for.
	other := Login{AppHost: o.Login.AppHost, ReturnPath: o.Login.ReturnPath, AppBinding: o.Login.AppBinding, ForceAuthn: true}
	elsewhere := "/login?force=1"
	if err := f.newLogin(r.Context(), &other); err == nil { // otherwise the refusal stands without the way back
		elsewhere = "/login?id=" + other.ID
	}
	p.Actions = append(p.Actions, web.Action{Label: "Use another account", URL: elsewhere, Quiet: true})
	f.refusePerson(w, r, o.Assertion.Identity.Provider, reason, ref.Member.ID, nil, p)
}

// account is the name by which a person knows the account: what the IdP said.
func account(p member.Profile, m member.Member) string {
	for _, s := range []string{p.Email, p.UserName, m.UserName, p.DisplayName} {
		if s != "" {
			return s
		}
	}
	return ""
}

func refusalPage(c member.RefusalCode, org string) web.Page {
	switch c {
	case member.RefusedInvitationPending:
		return web.Page{Title: "You are invited to " + org, Lead: "Accept the invitation to become a member with this account."}
	case member.RefusedDeactivated:
		return web.Page{Title: "Your account has been deactivated", Lead: "Your organisation's identity provider has withdrawn your access. Ask the people who manage it to assign you again."}
	case member.RefusedSuspended:
		return web.Page{Title: "Your account is suspended", Lead: "An owner of " + org + " has suspended it. Ask an owner to lift the suspension."}
	case member.RefusedRemoved:
		return web.Page{Title: "Your account has been removed", Lead: "You were a member of " + org + " and have been removed. Ask the people who manage it to add you again."}
	case member.RefusedSecondSubject:
		return web.Page{Title: "This account does not match your membership", Lead: "Your membership is already linked to another account at your identity provider. Use that account, or ask an owner to link this one."}
	case member.RefusedUserNameTaken:
		return web.Page{Title: "That name is taken", Lead: "Somebody else is already a member under this name. Ask an owner to sort it out."}
	default:
		return web.Page{Title: "You are not a member of " + org, Lead: "You signed in, but this account has no access here. Ask the people who manage " + org + " to add you."}
	}
}

// accept is the one click on the invitation page, in the browser that signed in.
func (f *Flow) accept(w http.ResponseWriter, r *http.Request) {
	ctx := r.Context()
	r.Body = http.MaxBytesReader(w, r.Body, 4<<10)
	if err := r.ParseForm(); err != nil || len(r.PostForm["code"]) != 1 {
		f.page(w, r, f.again(http.StatusBadRequest, "That did not work", "The form was incomplete. Sign in again to get a new one.", ""))
		return
	}
	code := r.PostForm["code"][0]
	var o outcome
	err := f.getJSON(ctx, key(KindAccept, code), &o)
	if err == nil {
		if h, ok := f.cookies.Bound(r, session.Gateway); !ok || !matches(h, o.Login.Binding) {
			err = ErrNoRecord // another browser: the code is not used up
		} else {
			var taken [][]byte
			if taken, err = f.Pending.Take(ctx, key(KindAccept, code)); err == nil {
				err = json.Unmarshal(taken[0], &o)
			}
		}
	}
	switch {
	case errors.Is(err, ErrNoRecord):
		f.refuse(w, r, "", "code_unknown", nil, f.again(http.StatusGone, "Please sign in again",
			"This page was open for too long, or the invitation was accepted already.", ""))
		return
	case err != nil:
		f.storeFailed(w, r, err)
		return
	}
	if err := o.openGrant(code); err != nil {
		f.unavailable(w, r, err)
		return
	}
	f.admit(w, r, o, true)
}
