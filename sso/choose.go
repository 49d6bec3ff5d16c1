package sso

import (
	"net/http"
	"net/url"
	"slices"

	"github.com/ssogate/ssogate/internal/web"
)

// choices shows the providers that are active, the one that this browser was last
// sent to first. With a single one nobody is asked. Where e-mail domains lead to
// providers there is a field for the address too.
//
// What was chosen last never sends anybody on by itself: on a shared machine it is
// the choice of whoever sat there before.
func (f *Flow) choices(w http.ResponseWriter, r *http.Request, l Login, status int, notice string) {
	live := f.Live.Load()
	var found []Info
	routed := false
	for _, s := range live.Providers {
		if p := f.Providers(s.ID); p != nil {
			found = append(found, p.Info())
			routed = routed || len(s.Domains) > 0
		}
	}
	passwords := f.passwords(r.Context())
	switch {
	case passwords: // one more way in, so there is something to choose
	case len(found) == 0:
		f.refuse(w, r, "", "no_provider", nil, web.Page{
			Status: http.StatusServiceUnavailable, Title: "Nobody can sign in yet",
			Lead:    "No identity provider is set up. Whoever runs this gateway adds one to its configuration.",
			Actions: f.rescue(),
		})
		return
	case len(found) == 1:
		// Not a redirect: a page can pick up the fragment, a redirect cannot.
		f.page(w, r, web.Page{
			Status: http.StatusOK, Title: "Signing in", Lead: "You are being taken to your identity provider.",
			Refresh: f.loginURL(l, found[0].ID), Fragment: true,
		})
		return
	}
	lead := "Choose how you sign in."
	last := f.cookies.Preferred(r)
	if i := slices.IndexFunc(found, func(p Info) bool { return p.ID == last }); i >= 0 {
		p := found[i]
		found = slices.Insert(slices.Delete(found, i, i+1), 0, p)
		lead = "Choose how you sign in. Last time it was " + p.Name + "."
	}
	if notice != "" {
		lead = notice
	}
	page := web.Page{Status: status, Title: "Sign in to " + live.Organization.Name, Lead: lead, Fragment: true}
	for _, p := range found {
		page.Actions = append(page.Actions, web.Action{Label: "Continue with " + p.Name, URL: f.loginURL(l, p.ID)})
	}
	if passwords {
		page.Actions = append(page.Actions, web.Action{Label: "Sign in with a password", URL: f.passwordURL(l)})
	}
	page.Actions = append(page.Actions, f.rescue()...)
	if routed {
		page.Form = &web.Form{URL: f.loginURL(l, ""), Button: "Continue", Inputs: []web.Input{
			{Label: "Your work e-mail address", Name: "address", Type: "email", Hint: "username"},
		}}
	}
	f.page(w, r, page)
}

// byAddress leads to the provider of an e-mail domain. The address itself is used
// for nothing else: it is not kept, not logged (W5) and in no URL, and what is said
// about it depends on the configuration alone, never on who is a member.
func (f *Flow) byAddress(w http.ResponseWriter, r *http.Request) {
	// A POST is told from a GET by its body only: the sign-in it belongs to stands in
	// the query, where the page's other links have it too.
	l := Login{ID: param(r, "id", maxID), ForceAuthn: param(r, "force", 1) == "1"}
	if back := param(r, "return", 2048); back != "" {
		l.ReturnPath = web.SafeGatewayReturn(back, "/me")
	}
	r.Body = http.MaxBytesReader(w, r.Body, 8<<10)
	if err := r.ParseForm(); err != nil || len(r.PostForm["address"]) != 1 {
		f.choices(w, r, l, http.StatusBadRequest, "The form was incomplete. Choose how you sign in.")
		return
	}
	domain := domainOf(r.PostForm["address"][0])
	for _, s := range f.Live.Load().Providers {
		if domain == "" || !slices.Contains(s.Domains, domain) || f.Providers(s.ID) == nil {
			continue
		}
		next := f.loginURL(l, s.ID)
		if frag := web.SafeFragment(r.PostForm.Get("fragment")); frag != "" {
			next += "&" + url.Values{"fragment": {frag}}.Encode()
		}
		// Not a redirect: it ends at another origin, which form-action forbids (W1).
		f.moveOn(w, r, next)
		return
	}
	f.choices(w, r, l, http.StatusUnprocessableEntity, "No identity provider is set up for addresses of that kind. Check the address, or choose below.")
}
