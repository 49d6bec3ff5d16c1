package scim

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/internal/bearer"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/internal/web"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/settings"
)

// maxToken bounds what is hashed and looked up.
const maxToken = 512

// unauthorized is the one answer to every request without a valid token,
// whatever was wrong with it and whatever path it asked for (C01, C09).
func unauthorized() error {
	return &fault{Status: http.StatusUnauthorized, Detail: "the bearer token is missing or not valid"}
}

// bearerOf is who a request's token belongs to, for the flight recorder and lists.
type bearerOf struct {
	ID   string // of the token or client; "" for one declared in the config file
	Name string
}

// authenticate finds the connection of the request's token.
func (c *call) authenticate() error {
	token, ok := bearer.FromHeader(c.r.Header, maxToken)
	c.presented = token
	if !ok {
		return c.deny("token_missing")
	}
	hash := secret.Sum(token)
	if conn, name, ok := c.h.declared(hash); ok {
		c.conn, c.bearer = conn, bearerOf{Name: name}
		return nil
	}
	// Only what has the form of a token we made is worth a question to the
	// store; anything else costs the sender more than us.
	switch {
	case bearer.HasForm(token, bearer.SCIM):
		return c.byToken(hash)
	case strings.HasPrefix(token, accessPrefix):
		return c.byAccess(token)
	}
	return c.deny("token_unknown")
}

// byToken admits a bearer token that the CLI or console made.
func (c *call) byToken(hash secret.Hash) error {
	t, err := c.h.o.Access.Token(c.ctx, hash.String())
	switch {
	case errors.Is(err, member.ErrNotFound):
		return c.deny("token_unknown")
	case err != nil:
		return unavailable(err)
	}
	if !t.Is(hash) {
		return c.deny("token_unknown")
	}
	return c.admit(t, "token", c.h.o.Access.UsedToken)
}

// admit checks what a token and a client have in common, and notes the use.
func (c *call) admit(t StoredToken, kind string, used func(context.Context, string, time.Time, string) error) error {
	now := c.h.o.Now()
	if t.Expired(now) {
		return c.deny(kind + "_expired")
	}
	conn, ok := connection(c.h.o.Live.Load(), t.Connection)
	if !ok {
		return c.deny("connection_unknown")
	}
	c.conn, c.bearer = conn, bearerOf{ID: t.ID, Name: t.Name}
	if !t.UseDue(now) {
		return nil
	}
	// The note is for people. Failing the IdP because it could not be written
	// would turn a full disk into a provisioning outage.
	if err := used(c.ctx, t.ID, now, clientAddress(c.ctx)); err != nil {
		c.h.o.Log.WarnContext(c.ctx, "scim "+kind+" use not noted", kind, t.ID, "err", err, "request_id", web.RequestID(c.ctx))
	}
	return nil
}

// working answers 503 while the connection must not change anything: its
// provider is not active, or somebody paused it. The IdP tries again later and
// nothing is lost.
func (c *call) working() error {
	p, ok := c.h.o.Live.Load().Provider(c.conn.Provider)
	if !ok || p.Protocol != settings.SAML {
		return &fault{
			Status: http.StatusServiceUnavailable, RetryAfter: pausedRetryIn,
			Detail: "the identity provider of this connection is not configured and active as a SAML provider",
		}
	}
	pause, err := c.h.o.Access.Paused(c.ctx, c.conn.ID)
	if err != nil {
		return unavailable(err)
	}
	if c.conn.Paused || pause.Connection != "" {
		return &fault{Status: http.StatusServiceUnavailable, Detail: "provisioning is paused", RetryAfter: pausedRetryIn}
	}
	return nil
}

// declared looks among the tokens of the config file. Every one is compared,
// in constant time, whether or not one before it matched.
func (h *Handler) declared(hash secret.Hash) (found settings.Connection, name string, ok bool) {
	now := h.o.Now()
	for _, conn := range h.o.Live.Load().Connections {
		for _, t := range conn.Tokens {
			stored, err := secret.ParseHash(t.Hash)
			if err != nil || !stored.Equal(hash) {
				continue
			}
			if t.Expires.IsZero() || now.Before(t.Expires) {
				found, name, ok = conn, t.Name, true
			}
		}
	}
	return found, name, ok
}

func connection(s *settings.Settings, id string) (settings.Connection, bool) {
	for _, c := range s.Connections {
		if id != "" && c.ID == id {
			return c, true
		}
	}
	return settings.Connection{}, false
}

// deny audits the refusal and answers it.
func (c *call) deny(reason string) error {
	web.Annotate(c.ctx, "scim_refused", reason)
	err := c.h.denials.record(c.ctx, c.h.o.Now(), audit.Event{
		Kind: "scim.refused", Outcome: audit.Denied, Actor: "anonymous",
		RequestID: web.RequestID(c.ctx), Address: clientAddress(c.ctx), Reason: reason,
	})
	if err != nil {
		// Still a refusal (audit.Recorder: a deny path denies anyway).
		c.h.o.Log.ErrorContext(c.ctx, "scim refusal not audited", "err", err, "request_id", web.RequestID(c.ctx))
	}
	return unauthorized()
}
