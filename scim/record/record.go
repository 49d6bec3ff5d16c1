package record

import (
	"context"
	"errors"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/scim/filter"
)

// Sort orders a list by one attribute (RFC 7644 section 3.4.2.3). The zero
// value is the order of creation, then id, which every other order ends with
// too, so that all are total and stable.
type Sort struct {
	By         filter.Path // By.Attr "" = creation order
	Descending bool
}

// Query is one page of a list in one connection's scope. An empty Connection
// finds nothing.
type Query struct {
	Connection string
	Filter     filter.Expr // nil matches everything
	Sort       Sort
	Start      int    // 1-based index of the first resource; below 1 is 1. Not looked at with After.
	After      string // a [Found.Next] of the same connection, filter and sort, or "" for index paging
	Count      int    // at most so many resources; 0 or less asks for the total only
}

// Found is one page. Next is where the page after it begins, "" when this is
// the last; it is the store's own text, to be kept secret and whole by the caller.
type Found[T any] struct {
	Items []T
	Total int
	Next  string
}

// ErrPosition means that a [Query.After] is none that the store made for this sort.
var ErrPosition = errors.New("record: not a position in this list")

// Searcher lists resources in one connection's scope. store/sql renders
// expressions with bound parameters; a filter or sort that it cannot render is
// filter.ErrUnsupported.
type Searcher interface {
	SearchMembers(ctx context.Context, q Query) (Found[member.Member], error)
	SearchTeams(ctx context.Context, q Query) (Found[member.Team], error)
	// TeamsOfMembers answers the teams of many members in one statement.
	TeamsOfMembers(ctx context.Context, ids []member.ID) (map[member.ID][]member.Team, error)
	// MembersOfTeam answers at most limit members (id and display name) of a team
	// behind an id, by id; "" is the beginning.
	MembersOfTeam(ctx context.Context, team, after member.ID, limit int) ([]member.TeamMember, error)
	// CountMemberships answers how many memberships teams have together.
	CountMemberships(ctx context.Context, teams []member.ID) (int, error)
	// MembersOfTeams answers members (id and display name) of many teams in one statement.
	MembersOfTeams(ctx context.Context, ids []member.ID) (map[member.ID][]member.Member, error)
}
