package machine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/internal/bearer"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
)

// Limits of one token.
const (
	maxName  = 63
	maxScope = 64 // routes, and teams
	maxWord  = 100
)

// Token is a service token as it is kept. Name is the machine's: several tokens may
// carry it, so that a new one can be in place before the old one is revoked.
type Token struct {
	bearer.Stored

	Routes []string // by name, at least one: nothing else takes the token
	Teams  []string // slugs
}

// Principal is who has the token. It says nothing about whether the token is good.
func (t Token) Principal() session.Principal {
	h, _ := secret.ParseHash(t.Hash) // the zero hash of an unreadable one is nobody's
	return session.Principal{
		Session: h, Machine: &session.Machine{ID: session.MachineID(t.Name), Routes: t.Routes},
		Teams: t.Teams, Issued: t.Created, Expires: t.Expires,
	}
}

// Use is when and from where a token was last used.
type Use struct {
	ID   string // of the token
	At   time.Time
	Addr string

	hash secret.Hash
}

// Tokens keeps service tokens. Each change is written together with its audit event,
// or not at all. store/sql is the real one.
type Tokens interface {
	// MachineToken finds a token by its hash, with the revocation log's number as of
	// the same snapshot (C3): member.ErrNotFound.
	MachineToken(ctx context.Context, hash string) (t Token, seq int64, err error)
	ListMachineTokens(ctx context.Context) ([]Token, error) // oldest first
	InsertMachineToken(ctx context.Context, t Token, e audit.Event) error
	// RevokeMachineToken removes a token for good and answers the number of the
	// revocation that ends what runs with it. A second call answers the same number
	// (C2). member.ErrNotFound.
	RevokeMachineToken(ctx context.Context, id string, event func(Token) audit.Event) (seq int64, err error)
	// UsedMachineTokens writes uses down, each at most once a minute for its token.
	UsedMachineTokens(ctx context.Context, uses []Use) error
}

// ErrInvalid means that a token cannot be made as asked: the message says why.
var ErrInvalid = errors.New("machine: token")

// New describes a token to make. The zero Expires never ends.
type New struct {
	Name    string    `json:"name"`
	Routes  []string  `json:"routes"`
	Teams   []string  `json:"teams"`
	Creator string    `json:"creator"`
	Expires time.Time `json:"expires"`
}

// Create makes a token of 256 random bits and keeps its hash. The token itself is
// answered once and cannot be had again. The caller checks that the routes exist.
// Errors wrap [ErrInvalid] or come from the store.
func Create(ctx context.Context, tokens Tokens, n New) (string, Token, error) {
	value, hash := bearer.New(bearer.Machine)
	stored, err := bearer.Keep(bearer.ID(hash), hash, n.Name, n.Creator, n.Expires)
	if err == nil {
		err = n.check()
	}
	if err != nil {
		return "", Token{}, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	t := Token{Stored: stored, Routes: sorted(n.Routes), Teams: sorted(n.Teams)}
	if err := tokens.InsertMachineToken(ctx, t, event("machine.token.create", n.Creator, t)); err != nil {
		return "", Token{}, fmt.Errorf("machine: create token: %w", err)
	}
	return value, t, nil
}

// check holds names to what cannot be taken for something else: the name of a machine
// that an issuer vouches for has a slash, and lists are kept with spaces between.
func (n *New) check() error {
	switch {
	case len(n.Name) > maxName || !word(n.Name):
		return errors.New("the name of a machine is 1 to 63 of a-z, 0-9, dots, hyphens and underscores")
	case len(n.Routes) == 0:
		return errors.New("it names no route, so nothing would take it")
	case len(n.Routes) > maxScope || len(n.Teams) > maxScope:
		return fmt.Errorf("more than %d routes or teams", maxScope)
	case slices.ContainsFunc(n.Routes, func(s string) bool { return !word(s) }):
		return errors.New("a route's name is not one")
	case slices.ContainsFunc(n.Teams, func(s string) bool { return !word(s) }):
		return errors.New("a team's slug is not one")
	}
	return nil
}

func word(s string) bool {
	return s != "" && len(s) <= maxWord && strings.Trim(s, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == ""
}

func sorted(list []string) []string {
	out := slices.Clone(list)
	slices.Sort(out)
	return slices.Compact(out)
}

// Revoke ends a token. It returns nil only once no node admits it any more and what it
// had running is cut (G1). After an error that wraps session.ErrBarrier it is revoked
// and not yet confirmed: another call waits again. member.ErrNotFound.
func Revoke(ctx context.Context, tokens Tokens, r member.Revoker, actor, id string) error {
	seq, err := tokens.RevokeMachineToken(ctx, id, func(t Token) audit.Event { return event("machine.token.revoke", actor, t) })
	if err != nil {
		return fmt.Errorf("machine: revoke token: %w", err)
	}
	if err := r.Barrier(ctx, seq); err != nil {
		return fmt.Errorf("machine: the token is revoked but not yet confirmed everywhere: %w", err)
	}
	return nil
}

func event(kind, actor string, t Token) audit.Event {
	return audit.Event{
		Kind: kind, Outcome: audit.Allowed, Actor: actor, Target: session.MachineID(t.Name),
		Detail: map[string]string{"id": t.ID, "routes": strings.Join(t.Routes, " "), "teams": strings.Join(t.Teams, " ")},
	}
}
