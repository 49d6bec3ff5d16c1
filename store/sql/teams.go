package sql

import (
	"database/sql"

	"github.com/ssogate/ssogate/member"
)

const teamColumns = "t.id, t.slug, t.display_name, t.connection, t.external_id, t.version, t.created, t.modified"

func scanTeam(r scanner, t *member.Team) error {
	var created, modified int64
	err := r.Scan(&t.ID, &t.Slug, &t.DisplayName, &t.Connection, &t.ExternalID, &t.Version, &created, &modified)
	t.Created, t.Modified = at(created), at(modified)
	return err
}

func (t *tx) team(what, where string, args ...any) (member.Team, error) {
	var m member.Team
	err := t.row(what, func(r *sql.Row) error { return scanTeam(r, &m) },
		"SELECT "+teamColumns+" FROM teams t WHERE "+where+t.lock, args...)
	if err != nil {
		return member.Team{}, err
	}
	return m, nil
}

// Team implements member.Teams.
func (t *tx) Team(id member.ID) (member.Team, error) { return t.team("team", "t.id = $1", string(id)) }

// TeamByName implements member.Teams.
func (t *tx) TeamByName(connection, folded string) (member.Team, error) {
	return t.team("team by name", "t.connection = $1 AND t.display_folded = $2", connection, folded)
}

// TeamBySlug implements member.Teams.
func (t *tx) TeamBySlug(slug string) (member.Team, error) {
	return t.team("team by slug", "t.slug = $1", slug)
}

// InsertTeam implements member.Teams.
func (t *tx) InsertTeam(m member.Team) error {
	_, err := t.exec("insert team", `INSERT INTO teams (id, slug, display_name, display_folded, connection, external_id, version, created, modified)
		VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)`, teamValues(m)...)
	if err != nil {
		return err
	}
	return t.count(m.Connection, countedTeams, 1, 0)
}

func teamValues(m member.Team) []any {
	return []any{
		string(m.ID), m.Slug, m.DisplayName, member.FoldUserName(m.DisplayName), m.Connection, m.ExternalID,
		m.Version, ms(m.Created), ms(m.Modified),
	}
}

// UpdateTeam implements member.Teams. The slug is in the statement only to be
// stored as given; Directory never changes it.
func (t *tx) UpdateTeam(m member.Team, ifVersion int64) error {
	n, err := t.exec("update team", `UPDATE teams SET slug = $2, display_name = $3, display_folded = $4, connection = $5,
			external_id = $6, version = $7, created = $8, modified = $9
		WHERE id = $1 AND version = $10`, append(teamValues(m), ifVersion)...)
	return t.changedOne("update team", "teams", n, m.ID, err)
}

// DeleteTeam implements member.Teams.
func (t *tx) DeleteTeam(id member.ID, ifVersion int64) error {
	return t.remove("delete team", "teams", countedTeams, id, ifVersion)
}

// TeamsOf implements member.Memberships.
func (t *tx) TeamsOf(id member.ID) ([]member.Team, error) {
	return list(t, "teams of", func(r scanner, m *member.Team) error { return scanTeam(r, m) },
		"SELECT "+teamColumns+" FROM team_members x JOIN teams t ON t.id = x.team WHERE x.member = $1 ORDER BY t.slug", string(id))
}

// MembersOf implements member.Memberships.
func (t *tx) MembersOf(team member.ID) ([]member.TeamMember, error) {
	return list(t, "members of", func(r scanner, m *member.TeamMember) error { return r.Scan(&m.ID, &m.DisplayName) },
		"SELECT m.id, m.display_name FROM team_members x JOIN members m ON m.id = x.member WHERE x.team = $1 ORDER BY m.id", string(team))
}

// AddMemberships implements member.Memberships.
func (t *tx) AddMemberships(team member.ID, ids []member.ID) (added int, err error) {
	err = batches(ids, func(args []any) error {
		n, err := t.exec("add memberships", "INSERT INTO team_members (team, member) VALUES "+
			holders(2, len(args), "($1, ", ")")+" ON CONFLICT (team, member) DO NOTHING", append([]any{string(team)}, args...)...)
		added += int(n)
		return err
	})
	return added, err
}

// RemoveMemberships implements member.Memberships.
func (t *tx) RemoveMemberships(team member.ID, ids []member.ID) (removed int, err error) {
	keep := ids[:0:0]
	for _, id := range ids {
		if storable(string(id)) { // what cannot be stored is not in the team
			keep = append(keep, id)
		}
	}
	err = batches(keep, func(args []any) error {
		n, err := t.exec("remove memberships", "DELETE FROM team_members WHERE team = $1 AND member IN ("+
			holders(2, len(args), "", "")+")", append([]any{string(team)}, args...)...)
		removed += int(n)
		return err
	})
	return removed, err
}

// UnknownMembers implements member.Memberships. Those it finds cannot be
// deleted until the transaction ends.
func (t *tx) UnknownMembers(connection string, ids []member.ID) ([]member.ID, error) {
	known := make(map[member.ID]bool, len(ids))
	ask := ids[:0:0]
	for _, id := range ids {
		if storable(string(id)) {
			ask = append(ask, id)
		}
	}
	err := batches(ask, func(args []any) error {
		// An expression has no index: without statistics SQLite would rather go
		// through everybody of the connection than look up five hundred ids.
		found, err := list(t, "unknown members", func(r scanner, id *member.ID) error { return r.Scan(id) },
			"SELECT id FROM members WHERE connection || '' = $1 AND id IN ("+holders(2, len(args), "", "")+") ORDER BY id"+t.share,
			append([]any{connection}, args...)...)
		for _, id := range found {
			known[id] = true
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var unknown []member.ID
	for _, id := range ids {
		if !known[id] {
			unknown = append(unknown, id)
		}
	}
	return unknown, nil
}
