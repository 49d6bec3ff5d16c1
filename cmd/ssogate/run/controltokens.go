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
	"github.com/ssogate/ssogate/scim/record"
	"github.com/ssogate/ssogate/store/sql"
)

// SCIMAdmin makes, lists and revokes the bearer tokens and OAuth 2.0 clients of
// SCIM connections, and pauses connections.
type SCIMAdmin interface {
	Create(ctx context.Context, t NewToken) (secret string, stored scim.StoredToken, err error)
	List(ctx context.Context, kind TokenKind, connection string) ([]scim.StoredToken, error)
	Revoke(ctx context.Context, kind TokenKind, actor, id string) error
	Pause(ctx context.Context, p record.Pause) error
	Resume(ctx context.Context, actor, connection string) error
	Paused(ctx context.Context, connection string) (record.Pause, error)
	// Adopt gives a member (id or user name) to a connection, Release takes him out.
	Adopt(ctx context.Context, h HandOver) (member.Member, error)
}

// HandOver is a change of the connection that a member belongs to.
type HandOver struct {
	Actor      string `json:"actor"`
	Who        string `json:"who"`        // id or user name
	Connection string `json:"connection"` // "" releases him
	Provider   string `json:"provider"`
}

// TokenKind is what is made or revoked.
type TokenKind string

// Kinds.
const (
	BearerToken TokenKind = "token"
	OAuthClient TokenKind = "client"
)

// NewToken describes a token or client to make. The zero Expires never expires.
type NewToken struct {
	Kind       TokenKind `json:"kind"`
	Connection string    `json:"connection"`
	Name       string    `json:"name"`
	Creator    string    `json:"creator"`
	Expires    time.Time `json:"expires"`
}

type createdToken struct {
	Token  string           `json:"token"`
	Stored scim.StoredToken `json:"stored"`
}

type namedToken struct {
	Kind  TokenKind `json:"kind"`
	Actor string    `json:"actor"`
	Of    string    `json:"of"` // connection, or id of a token
}

var (
	askTokenCreate = endpoint[NewToken, createdToken]{"/scim/tokens/create"}
	askTokenList   = endpoint[namedToken, []scim.StoredToken]{"/scim/tokens/list"}
	askTokenRevoke = endpoint[namedToken, none]{"/scim/tokens/revoke"}
	askPause       = endpoint[record.Pause, none]{"/scim/pause"}
	askResume      = endpoint[namedToken, none]{"/scim/resume"}
	askHandOver    = endpoint[HandOver, member.Member]{"/scim/adopt"}
	askPaused      = endpoint[string, record.Pause]{"/scim/paused"}
)

func (c *Control) serveTokens(mux *http.ServeMux) {
	askTokenCreate.serve(mux, func(ctx context.Context, n NewToken) (createdToken, error) {
		token, stored, err := c.SCIM.Create(ctx, n)
		return createdToken{token, stored}, err
	})
	askTokenList.serve(mux, func(ctx context.Context, q namedToken) ([]scim.StoredToken, error) {
		return c.SCIM.List(ctx, q.Kind, q.Of)
	})
	askTokenRevoke.serve(mux, func(ctx context.Context, q namedToken) (none, error) {
		return none{}, c.SCIM.Revoke(ctx, q.Kind, q.Actor, q.Of)
	})
	askPause.serve(mux, func(ctx context.Context, p record.Pause) (none, error) { return none{}, c.SCIM.Pause(ctx, p) })
	askResume.serve(mux, func(ctx context.Context, q namedToken) (none, error) {
		return none{}, c.SCIM.Resume(ctx, q.Actor, q.Of)
	})
	askPaused.serve(mux, c.SCIM.Paused)
	askHandOver.serve(mux, c.SCIM.Adopt)
}

// storedSCIM works on the database.
type storedSCIM struct {
	db  *sql.DB
	dir *member.Directory
}

func (t storedSCIM) Create(ctx context.Context, n NewToken) (string, scim.StoredToken, error) {
	if n.Kind == OAuthClient {
		return scim.CreateClient(ctx, t.db, n.Connection, n.Name, n.Creator, n.Expires)
	}
	return scim.CreateToken(ctx, t.db, n.Connection, n.Name, n.Creator, n.Expires)
}

func (t storedSCIM) List(ctx context.Context, kind TokenKind, connection string) ([]scim.StoredToken, error) {
	if kind == OAuthClient {
		return t.db.ListClients(ctx, connection)
	}
	return t.db.ListTokens(ctx, connection)
}

func (t storedSCIM) Revoke(ctx context.Context, kind TokenKind, actor, id string) error {
	revoke, what := t.db.RevokeToken, "token"
	if kind == OAuthClient {
		revoke, what = t.db.RevokeClient, "client"
	}
	err := revoke(ctx, id, event("scim."+what+".revoke", actor, what+":"+id))
	if errors.Is(err, member.ErrNotFound) {
		return fmt.Errorf("no %s has the ID %q; \"ssogate scim %s list\" shows them", what, id, what)
	}
	return err
}

func (t storedSCIM) Pause(ctx context.Context, p record.Pause) error {
	p.Since = time.Now().UTC()
	e := event("scim.pause", p.Actor, p.Connection)
	e.Detail = map[string]string{"reason": p.Reason}
	return t.db.Pause(ctx, p, e)
}

func (t storedSCIM) Resume(ctx context.Context, actor, connection string) error {
	err := t.db.Resume(ctx, connection, event("scim.resume", actor, connection))
	if errors.Is(err, member.ErrNotFound) {
		return fmt.Errorf("%q is not paused", connection)
	}
	return err
}

func (t storedSCIM) Paused(ctx context.Context, connection string) (record.Pause, error) {
	return t.db.Paused(ctx, connection)
}

func (t storedSCIM) Adopt(ctx context.Context, h HandOver) (m member.Member, err error) {
	m, err = findMember(ctx, t.db, h.Who)
	by := member.Actor{Name: h.Actor}
	switch {
	case err != nil:
		return m, err
	case h.Connection == "":
		return t.dir.Release(ctx, by, m.ID)
	}
	return t.dir.Adopt(ctx, by, member.Connection{ID: h.Connection, Provider: h.Provider}, m.ID)
}

// event is that of a command.
func event(kind, actor, target string) audit.Event {
	return audit.Event{Kind: kind, Outcome: audit.Allowed, Actor: actor, Target: target}
}

// remoteSCIM asks the running process.
type remoteSCIM struct{ client *http.Client }

func (t remoteSCIM) Create(ctx context.Context, n NewToken) (string, scim.StoredToken, error) {
	c, err := askTokenCreate.ask(ctx, t.client, n)
	return c.Token, c.Stored, err
}

func (t remoteSCIM) List(ctx context.Context, kind TokenKind, connection string) ([]scim.StoredToken, error) {
	return askTokenList.ask(ctx, t.client, namedToken{Kind: kind, Of: connection})
}

func (t remoteSCIM) Revoke(ctx context.Context, kind TokenKind, actor, id string) error {
	_, err := askTokenRevoke.ask(ctx, t.client, namedToken{kind, actor, id})
	return err
}

func (t remoteSCIM) Pause(ctx context.Context, p record.Pause) error {
	_, err := askPause.ask(ctx, t.client, p)
	return err
}

func (t remoteSCIM) Resume(ctx context.Context, actor, connection string) error {
	_, err := askResume.ask(ctx, t.client, namedToken{Actor: actor, Of: connection})
	return err
}

func (t remoteSCIM) Adopt(ctx context.Context, h HandOver) (member.Member, error) {
	return askHandOver.ask(ctx, t.client, h)
}

func (t remoteSCIM) Paused(ctx context.Context, connection string) (record.Pause, error) {
	return askPaused.ask(ctx, t.client, connection)
}

// Interface guards.
var (
	_ SCIMAdmin = storedSCIM{}
	_ SCIMAdmin = remoteSCIM{}
)
