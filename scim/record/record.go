package record

import (
	"context"
	"time"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/scim/filter"
)

// Page is the index paging of a list (RFC 7644 section 3.4.2.4). Start is
// 1-based; Count 0 asks for the total only.
type Page struct{ Start, Count int }

// Searcher lists resources in one connection's scope, in a stable order
// (creation, then id). A nil expression matches everything. store/sql renders
// the expression with bound parameters; one it cannot render is
// filter.ErrUnsupported.
type Searcher interface {
	SearchMembers(ctx context.Context, connection string, e filter.Expr, p Page) ([]member.Member, int, error)
	SearchTeams(ctx context.Context, connection string, e filter.Expr, p Page) ([]member.Team, int, error)
	// TeamsOfMembers answers the teams of many members in one statement.
	TeamsOfMembers(ctx context.Context, ids []member.ID) (map[member.ID][]member.Team, error)
	// MembersOfTeams answers members (id and display name) of many teams in one statement.
	MembersOfTeams(ctx context.Context, ids []member.ID) (map[member.ID][]member.Member, error)
}

// StoredToken is a bearer token made by the CLI or console. The token itself
// was shown once; only its hash is kept.
type StoredToken struct {
	ID         string
	Connection string
	Name       string
	Hash       string // hex SHA-256
	Created    time.Time
	Creator    string
	Expires    time.Time // zero = never
	LastUsed   time.Time
	LastAddr   string
}

// Tokens keeps bearer tokens. store/sql is the real one.
type Tokens interface {
	Token(ctx context.Context, hash string) (StoredToken, error) // member.ErrNotFound
	ListTokens(ctx context.Context, connection string) ([]StoredToken, error)
	InsertToken(ctx context.Context, t StoredToken) error
	RevokeToken(ctx context.Context, id string) error
	UsedToken(ctx context.Context, id string, at time.Time, addr string) error // at most once a minute per token
}
