package scim_test

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/scim"
	"github.com/ssogate/ssogate/scim/filter"
	"github.com/ssogate/ssogate/scim/record"
	"github.com/ssogate/ssogate/settings"
)

// nowhere is a directory of one member, for fuzzing what lies before the store:
// changes run on him and are thrown away.
type nowhere struct{}

var nobody = member.Member{ID: "abc", UserName: "a", Wish: true, Role: member.RoleMember, Version: 1}

func (nowhere) Create(_ context.Context, _ member.Actor, _ member.Connection, m member.Member) (member.Member, error) {
	return m, nil
}

func (nowhere) Get(context.Context, member.Connection, member.ID) (member.Member, []member.Team, error) {
	return nobody, nil, nil
}

func (nowhere) Update(_ context.Context, _ member.Actor, _ member.Connection, _ member.ID, _ int64, change func(*member.Member) error) (member.Member, error) {
	m := nobody
	return m, change(&m)
}

func (nowhere) Delete(context.Context, member.Actor, member.Connection, member.ID, int64) error {
	return nil
}

func (nowhere) CreateTeam(_ context.Context, _ member.Actor, _ member.Connection, t member.Team, _ []member.ID) (member.Team, error) {
	return t, nil
}

func (nowhere) GetTeam(context.Context, member.Connection, member.ID) (member.Team, error) {
	return member.Team{ID: "g", DisplayName: "g"}, nil
}

func (nowhere) MembersOfTeam(context.Context, member.ID, member.ID, int) ([]member.TeamMember, error) {
	return nil, nil
}

func (nowhere) CountMemberships(context.Context, []member.ID) (int, error) { return 0, nil }

func (nowhere) UpdateTeam(context.Context, member.Actor, member.Connection, member.ID, int64, member.TeamChange) (member.Team, error) {
	return member.Team{ID: "g", DisplayName: "g"}, nil
}

func (nowhere) DeleteTeam(context.Context, member.Actor, member.Connection, member.ID, int64) error {
	return nil
}

func (nowhere) SearchMembers(_ context.Context, q scim.Query) (record.Found[member.Member], error) {
	if q.Filter != nil {
		return record.Found[member.Member]{}, filter.ErrUnsupported // so that it is evaluated in memory
	}
	return record.Found[member.Member]{Items: []member.Member{nobody}, Total: 1}, nil
}

func (nowhere) SearchTeams(_ context.Context, q scim.Query) (record.Found[member.Team], error) {
	if q.Filter != nil {
		return record.Found[member.Team]{}, filter.ErrUnsupported
	}
	return record.Found[member.Team]{Items: []member.Team{{ID: "g", DisplayName: "g"}}, Total: 1}, nil
}

func (nowhere) TeamsOfMembers(context.Context, []member.ID) (map[member.ID][]member.Team, error) {
	return nil, nil
}

func (nowhere) MembersOfTeams(context.Context, []member.ID) (map[member.ID][]member.Member, error) {
	return nil, nil
}

func (nowhere) Token(context.Context, string) (scim.StoredToken, error) {
	return scim.StoredToken{}, member.ErrNotFound
}

func (nowhere) ListTokens(context.Context, string) ([]scim.StoredToken, error)   { return nil, nil }
func (nowhere) InsertToken(context.Context, scim.StoredToken, audit.Event) error { return nil }
func (nowhere) RevokeToken(context.Context, string, audit.Event) error           { return nil }
func (nowhere) Client(context.Context, string) (scim.StoredToken, error) {
	return scim.StoredToken{}, member.ErrNotFound
}

func (nowhere) ListClients(context.Context, string) ([]scim.StoredToken, error)   { return nil, nil }
func (nowhere) InsertClient(context.Context, scim.StoredToken, audit.Event) error { return nil }
func (nowhere) RevokeClient(context.Context, string, audit.Event) error           { return nil }
func (nowhere) UsedClient(context.Context, string, time.Time, string) error       { return nil }
func (nowhere) Paused(context.Context, string) (record.Pause, error)              { return record.Pause{}, nil }
func (nowhere) Pause(context.Context, record.Pause, audit.Event) error            { return nil }
func (nowhere) Resume(context.Context, string, audit.Event) error                 { return nil }
func (nowhere) UsedToken(context.Context, string, time.Time, string) error        { return nil }

func liveOkta() *settings.Live {
	l := &settings.Live{}
	l.Store(&settings.Settings{Providers: samlProviders("okta"), Connections: []settings.Connection{{
		Connection: member.Connection{ID: "okta", Provider: "okta"},
		Tokens:     []settings.Token{{Hash: secret.Sum(tokenOkta).String()}},
	}}})
	return l
}

// unlimited is a clock that runs so fast that no rate limit is reached.
func unlimited() clock.Func {
	var n atomic.Int64
	return func() time.Time { return time.Unix(n.Add(1), 0) }
}
