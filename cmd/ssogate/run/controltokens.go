package run

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/scim"
	"github.com/ssogate/ssogate/store/sql"
)

// TokenAdmin makes, lists and revokes SCIM bearer tokens.
type TokenAdmin interface {
	Create(ctx context.Context, t NewToken) (token string, stored scim.StoredToken, err error)
	List(ctx context.Context, connection string) ([]scim.StoredToken, error)
	Revoke(ctx context.Context, actor, id string) error
}

// NewToken describes a token to make. The zero Expires never expires.
type NewToken struct {
	Connection string    `json:"connection"`
	Name       string    `json:"name"`
	Creator    string    `json:"creator"`
	Expires    time.Time `json:"expires"`
}

type createdToken struct {
	Token  string           `json:"token"`
	Stored scim.StoredToken `json:"stored"`
}

type revokeToken struct {
	Actor string `json:"actor"`
	ID    string `json:"id"`
}

var (
	askTokenCreate = endpoint[NewToken, createdToken]{"/scim/tokens/create"}
	askTokenList   = endpoint[string, []scim.StoredToken]{"/scim/tokens/list"}
	askTokenRevoke = endpoint[revokeToken, none]{"/scim/tokens/revoke"}
)

func (c *Control) serveTokens(mux *http.ServeMux) {
	askTokenCreate.serve(mux, func(ctx context.Context, n NewToken) (createdToken, error) {
		token, stored, err := c.Tokens.Create(ctx, n)
		return createdToken{token, stored}, err
	})
	askTokenList.serve(mux, c.Tokens.List)
	askTokenRevoke.serve(mux, func(ctx context.Context, r revokeToken) (none, error) {
		return none{}, c.Tokens.Revoke(ctx, r.Actor, r.ID)
	})
}

// storedTokens works on the database.
type storedTokens struct{ db *sql.DB }

// Create audits first: a token that nobody can be asked about must not exist.
func (t storedTokens) Create(ctx context.Context, n NewToken) (string, scim.StoredToken, error) {
	if err := t.note(ctx, "scim.token.create", n.Creator, n.Connection, map[string]string{"name": n.Name}); err != nil {
		return "", scim.StoredToken{}, err
	}
	return scim.CreateToken(ctx, t.db, n.Connection, n.Name, n.Creator, n.Expires)
}

func (t storedTokens) note(ctx context.Context, kind, actor, target string, detail map[string]string) error {
	return t.db.Record(ctx, audit.Event{Kind: kind, Outcome: audit.Allowed, Actor: actor, Target: target, Detail: detail})
}

func (t storedTokens) List(ctx context.Context, connection string) ([]scim.StoredToken, error) {
	return t.db.ListTokens(ctx, connection)
}

func (t storedTokens) Revoke(ctx context.Context, actor, id string) error {
	if err := t.db.RevokeToken(ctx, id); errors.Is(err, member.ErrNotFound) {
		return fmt.Errorf("no token has the ID %q; \"ssogate scim token list\" shows them", id)
	} else if err != nil {
		return err
	}
	return t.note(ctx, "scim.token.revoke", actor, "token:"+id, nil)
}

// remoteTokens asks the running process.
type remoteTokens struct{ client *http.Client }

func (t remoteTokens) Create(ctx context.Context, n NewToken) (string, scim.StoredToken, error) {
	c, err := askTokenCreate.ask(ctx, t.client, n)
	return c.Token, c.Stored, err
}

func (t remoteTokens) List(ctx context.Context, connection string) ([]scim.StoredToken, error) {
	return askTokenList.ask(ctx, t.client, connection)
}

func (t remoteTokens) Revoke(ctx context.Context, actor, id string) error {
	_, err := askTokenRevoke.ask(ctx, t.client, revokeToken{actor, id})
	return err
}

// Interface guards.
var (
	_ TokenAdmin = storedTokens{}
	_ TokenAdmin = remoteTokens{}
)
