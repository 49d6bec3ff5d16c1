package ssotest

import (
	"net/http"
	"time"
)

// cookieName carries the port: cookies are shared between the ports of a host,
// and the demo's OpenID provider is another one on the same host.
func (i *SAMLIdP) cookieName() string {
	port := i.base.Port()
	if port == "" {
		port = i.base.Scheme
	}
	return "saml_session_" + port
}

// session is the session of this browser, if it has a live one.
func (i *SAMLIdP) session(r *http.Request) (samlSession, bool) {
	c, err := r.Cookie(i.cookieName())
	if err != nil {
		return samlSession{}, false
	}
	i.mu.Lock()
	defer i.mu.Unlock()
	s, ok := i.sessions[c.Value]
	if !ok || !i.opts.Now().Before(s.expires) {
		return samlSession{}, false
	}
	return s, true
}

func (i *SAMLIdP) startSession(w http.ResponseWriter, p Person) samlSession {
	now := i.opts.Now()
	s := samlSession{person: p, index: newSecret(), at: now, expires: now.Add(samlSessionLifetime)}
	value := newSecret()
	i.mu.Lock()
	for k, old := range i.sessions {
		// Past the budget everybody signs in again, which is all a demo owes.
		if now.After(old.expires) || len(i.sessions) >= samlMaxRecords {
			delete(i.sessions, k)
		}
	}
	i.sessions[value] = s
	i.mu.Unlock()
	i.setCookie(w, value, int(samlSessionLifetime/time.Second))
	return s
}

func (i *SAMLIdP) stopSession(w http.ResponseWriter, r *http.Request) {
	if c, err := r.Cookie(i.cookieName()); err == nil {
		i.mu.Lock()
		delete(i.sessions, c.Value)
		i.mu.Unlock()
	}
	i.setCookie(w, "", -1)
}

func (i *SAMLIdP) setCookie(w http.ResponseWriter, value string, maxAge int) {
	http.SetCookie(w, &http.Cookie{ // Lax is sent with the redirect that brings an AuthnRequest
		Name: i.cookieName(), Value: value, Path: "/", MaxAge: maxAge, HttpOnly: true,
		Secure: i.base.Scheme == "https", SameSite: http.SameSiteLaxMode,
	})
}

// keep holds a request while its person signs in; the ticket stands in the form.
func (i *SAMLIdP) keep(req samlRequest) string {
	now := i.opts.Now()
	ticket := newSecret()
	i.mu.Lock()
	defer i.mu.Unlock()
	for k, old := range i.tickets {
		if now.After(old.expires) || len(i.tickets) >= samlMaxRecords {
			delete(i.tickets, k)
		}
	}
	i.tickets[ticket] = samlTicket{request: req, expires: now.Add(samlTicketLifetime)}
	return ticket
}

func (i *SAMLIdP) kept(ticket string) (samlRequest, bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	t, ok := i.tickets[ticket]
	return t.request, ok && i.opts.Now().Before(t.expires)
}
