package run

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/store/sql"
)

// MemberAdmin shows members and ties them to identities by hand.
type MemberAdmin interface {
	Show(ctx context.Context, who string) (MemberInfo, error)
	Link(ctx context.Context, l LinkMember) (MemberInfo, error)
	Unlink(ctx context.Context, l LinkMember) (MemberInfo, error)
	// Readmit clears the marks of somebody whom an identity provider removed.
	Readmit(ctx context.Context, l LinkMember) (cleared int, err error)
}

// LinkMember names a member and an identity.
type LinkMember struct {
	Actor    string          `json:"actor"`
	Who      string          `json:"who"` // id or user name
	Identity member.Identity `json:"identity"`
}

// MemberInfo is a member as a command shows him.
type MemberInfo struct {
	ID          member.ID         `json:"id"`
	UserName    string            `json:"user_name"`
	DisplayName string            `json:"display_name"`
	Email       string            `json:"email"`
	State       member.State      `json:"state"`
	Role        member.Role       `json:"role"`
	Source      member.Source     `json:"source"`
	Connection  string            `json:"connection"`
	Teams       []string          `json:"teams"`
	Identities  []member.Identity `json:"identities"`
}

var (
	askMember  = endpoint[string, MemberInfo]{"/members/show"}
	askLink    = endpoint[LinkMember, MemberInfo]{"/members/link"}
	askUnlink  = endpoint[LinkMember, MemberInfo]{"/members/unlink"}
	askReadmit = endpoint[LinkMember, int]{"/members/readmit"}
)

func (c *Control) serveMembers(mux *http.ServeMux) {
	askMember.serve(mux, c.Members.Show)
	askLink.serve(mux, c.Members.Link)
	askUnlink.serve(mux, c.Members.Unlink)
	askReadmit.serve(mux, c.Members.Readmit)
}

// storedMembers works on the database.
type storedMembers struct {
	db  *sql.DB
	dir *member.Directory
}

// findMember finds a member by id or user name.
func findMember(ctx context.Context, db *sql.DB, who string) (m member.Member, err error) {
	err = db.View(ctx, func(tx member.Tx) error {
		if m, err = tx.Member(member.ID(who)); errors.Is(err, member.ErrNotFound) {
			m, err = tx.MemberByUserName(member.FoldUserName(who))
		}
		return err
	})
	if errors.Is(err, member.ErrNotFound) {
		return m, fmt.Errorf("no member has the id or user name %q", who)
	}
	return m, err
}

func (s storedMembers) Show(ctx context.Context, who string) (MemberInfo, error) {
	m, err := findMember(ctx, s.db, who)
	if err != nil {
		return MemberInfo{}, err
	}
	snap, err := s.dir.Snapshot(ctx, m.ID, member.SessionRef{})
	if err != nil {
		return MemberInfo{}, err
	}
	ids, err := s.dir.Identities(ctx, m.ID)
	if err != nil {
		return MemberInfo{}, err
	}
	return MemberInfo{
		ID: m.ID, UserName: m.UserName, DisplayName: m.DisplayName, Email: m.Email, State: m.State(), Role: m.Role,
		Source: m.Source, Connection: m.Connection, Teams: snap.Teams, Identities: ids,
	}, nil
}

func (s storedMembers) Link(ctx context.Context, l LinkMember) (MemberInfo, error) {
	m, err := findMember(ctx, s.db, l.Who)
	if err != nil {
		return MemberInfo{}, err
	}
	err = s.dir.Link(ctx, member.Actor{Name: l.Actor}, m.ID, l.Identity)
	switch {
	case errors.Is(err, member.ErrLinked):
		return MemberInfo{}, fmt.Errorf("%s has an identity at %s already: unlink it first", m.UserName, l.Identity.Provider)
	case errors.Is(err, member.ErrConflict):
		return MemberInfo{}, errors.New("that identity belongs to another member: unlink it there first")
	case errors.Is(err, member.ErrFallback):
		return MemberInfo{}, errors.New("a fallback owner signs in with password and code only, so that no identity provider can lock the last way in")
	case err != nil:
		return MemberInfo{}, err
	}
	return s.Show(ctx, string(m.ID))
}

func (s storedMembers) Unlink(ctx context.Context, l LinkMember) (MemberInfo, error) {
	m, err := findMember(ctx, s.db, l.Who)
	if err != nil {
		return MemberInfo{}, err
	}
	if err := s.dir.Unlink(ctx, member.Actor{Name: l.Actor}, m.ID, l.Identity.Provider); err != nil {
		return MemberInfo{}, err
	}
	return s.Show(ctx, string(m.ID))
}

func (s storedMembers) Readmit(ctx context.Context, l LinkMember) (int, error) {
	return s.dir.Readmit(ctx, member.Actor{Name: l.Actor}, l.Identity)
}

// remoteMembers asks the running process.
type remoteMembers struct{ client *http.Client }

func (r remoteMembers) Show(ctx context.Context, who string) (MemberInfo, error) {
	return askMember.ask(ctx, r.client, who)
}

func (r remoteMembers) Link(ctx context.Context, l LinkMember) (MemberInfo, error) {
	return askLink.ask(ctx, r.client, l)
}

func (r remoteMembers) Unlink(ctx context.Context, l LinkMember) (MemberInfo, error) {
	return askUnlink.ask(ctx, r.client, l)
}

func (r remoteMembers) Readmit(ctx context.Context, l LinkMember) (int, error) {
	return askReadmit.ask(ctx, r.client, l)
}
