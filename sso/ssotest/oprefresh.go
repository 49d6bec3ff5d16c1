package ssotest

import (
	"io"
	"net/http"
	"strconv"
	"time"
)

// opRefresh is one refresh token. Every use makes a new one; a used one is
// remembered so that its second use is noticed.
type opRefresh struct {
	grant   opGrant
	expires time.Time
	used    bool
}

// SetActive disables an account, or enables it again: nobody signs in to a
// disabled one, and its refresh tokens are refused as long as it is one.
func (op *OP) SetActive(user string, active bool) {
	op.mu.Lock()
	defer op.mu.Unlock()
	op.disabled[user] = !active
}

// mint makes a refresh token. It needs mu. Past the budget there is none, as
// from a provider that gives none.
func (op *OP) mint(g opGrant) string {
	now := op.opts.Now()
	for t, old := range op.refresh {
		if now.After(old.expires) {
			delete(op.refresh, t)
		}
	}
	if len(op.refresh) >= opMaxRecords {
		return ""
	}
	token := newSecret()
	op.refresh[token] = &opRefresh{grant: g, expires: now.Add(opRefreshLifetime)}
	return token
}

// renew redeems a refresh token for new tokens (RFC 6749 section 6) and rotates
// it. A second use revokes the whole family: one of the two who used it is a
// thief (RFC 9700 section 4.14.2).
func (op *OP) renew(token string) (g opGrant, next, why string) {
	op.mu.Lock()
	defer op.mu.Unlock()
	old, ok := op.refresh[token]
	switch {
	case !ok || op.opts.Now().After(old.expires):
		return opGrant{}, "", "the refresh token is unknown or expired"
	case old.used:
		op.revokeFamily(old.grant.family)
		return opGrant{}, "", "the refresh token was used before"
	case op.disabled[old.grant.person.User]:
		return opGrant{}, "", "the account is disabled"
	}
	old.used = true
	g = old.grant
	g.token = op.access(g)
	return g, op.mint(g), ""
}

// revokeFamily needs mu.
func (op *OP) revokeFamily(family string) {
	for t, r := range op.refresh {
		if r.grant.family == family {
			delete(op.refresh, t)
		}
	}
}

// Answers for [OPHooks].Refresh.

// RefuseRefresh says that the grant is over (RFC 6749 section 5.2).
func RefuseRefresh(w http.ResponseWriter, _ *http.Request) bool {
	opTokenError(w, http.StatusBadRequest, "invalid_grant", "the session at the provider has ended")
	return true
}

// FailRefresh answers a status and an error code.
func FailRefresh(status int, code string) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		opTokenError(w, status, code, "something is wrong here")
		return true
	}
}

// LimitRefresh answers 429 with Retry-After.
func LimitRefresh(after time.Duration) func(http.ResponseWriter, *http.Request) bool {
	return func(w http.ResponseWriter, _ *http.Request) bool {
		w.Header().Set("Retry-After", strconv.Itoa(int(after.Seconds())))
		opTokenError(w, http.StatusTooManyRequests, "slow_down", "too many requests")
		return true
	}
}

// HTMLRefresh answers a page, as a proxy in front of a broken provider does.
func HTMLRefresh(w http.ResponseWriter, _ *http.Request) bool {
	w.Header().Set("Content-Type", "text/html")
	_, _ = io.WriteString(w, "<!doctype html><title>Sorry</title><p>We will be back soon.")
	return true
}

// HangRefresh never answers: it waits until the client has gone.
func HangRefresh(_ http.ResponseWriter, r *http.Request) bool {
	<-r.Context().Done() // the form was read, so the server notices
	return true
}
