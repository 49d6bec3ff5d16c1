package member

import (
	"errors"
	"slices"
	"strings"
)

// MaxGroups is how many groups of a sign-in become teams. More are taken for a
// mistake of the mapping, and nothing is changed: a part of them would be
// arbitrary.
const MaxGroups = 200

// GroupsOwner is the Team.Connection of teams that are made of a provider's groups.
// No SCIM connection can have that id (theirs are slugs), so what an IdP says in
// sign-ins and what one says over SCIM never change each other's teams.
func GroupsOwner(provider string) string { return "groups:" + provider }

// takeGroups makes a's groups the member's teams: exactly those that the provider
// vouches for now, made where they are missing. Teams of others stay as they are.
// It reports whether a membership changed; the caller writes the row that makes his
// principals stale.
func (a *admission) takeGroups(m Member) (changed bool, err error) {
	if !a.Teams || a.Connection != nil {
		return false, nil
	}
	want, ok := a.groupNames()
	if !ok {
		// Nobody may take a list that is not known for an empty one: what he has stays,
		// and he gets nothing new.
		e := a.Actor.event("member.groups_unknown", m.ID, a.Identity.Provider)
		if e.Reason = a.GroupsMissing; e.Reason == "" {
			e.Reason = "too_many"
		}
		return false, a.tx.Audit(e)
	}
	owner := GroupsOwner(a.Identity.Provider)
	have, err := a.tx.TeamsOf(m.ID)
	if err != nil {
		return false, err
	}
	var added, removed []string
	for _, t := range have {
		if t.Connection != owner {
			continue
		}
		i := slices.IndexFunc(want, func(name string) bool { return FoldUserName(name) == FoldUserName(t.DisplayName) })
		if i >= 0 {
			want = slices.Delete(want, i, i+1)
			continue
		}
		if _, err := a.tx.RemoveMemberships(t.ID, []ID{m.ID}); err != nil {
			return false, err
		}
		removed = append(removed, t.Slug)
	}
	for _, name := range want {
		t, err := a.groupTeam(owner, name)
		if err != nil {
			return false, err
		}
		if _, err := a.tx.AddMemberships(t.ID, []ID{m.ID}); err != nil {
			return false, err
		}
		added = append(added, t.Slug)
	}
	if len(added)+len(removed) == 0 {
		return false, nil
	}
	e := a.Actor.event("member.teams_changed", m.ID, a.Identity.Provider)
	e.Detail = map[string]string{"added": shortList(added), "removed": shortList(removed)}
	return true, a.tx.Audit(e)
}

// shortList is a list for an audit event, which has room for a line.
func shortList(s []string) string {
	const limit = 20
	if len(s) > limit {
		s = append(slices.Clone(s[:limit]), "...")
	}
	return strings.Join(s, " ")
}

// groupNames are the names, cleaned, each once and in one order (of row locks,
// whoever signs in); ok is false when they are not known or too many.
func (a *admission) groupNames() (names []string, ok bool) {
	if a.GroupsMissing != "" || len(a.Groups) > MaxGroups {
		return nil, false
	}
	for _, g := range a.Groups {
		t := Team{DisplayName: g}
		// A name that no team can have grants nothing, as an unknown one would.
		if t.clean() == nil {
			names = append(names, t.DisplayName)
		}
	}
	slices.SortFunc(names, func(x, y string) int { return strings.Compare(FoldUserName(x), FoldUserName(y)) })
	return slices.CompactFunc(names, func(x, y string) bool { return FoldUserName(x) == FoldUserName(y) }), true
}

// groupTeam finds or makes the team of a group.
func (a *admission) groupTeam(owner, name string) (Team, error) {
	t, err := a.tx.TeamByName(owner, FoldUserName(name))
	if err == nil || !errors.Is(err, ErrNotFound) {
		return t, err
	}
	now := a.d.now()
	t = Team{ID: NewID(), DisplayName: name, Connection: owner, Version: 1, Created: now, Modified: now}
	if t.Slug, err = freeSlug(a.tx, Connection{Provider: a.Identity.Provider}, name); err != nil {
		return Team{}, err
	}
	if err := a.tx.InsertTeam(t); err != nil {
		return Team{}, err
	}
	e := a.Actor.event("team.created", t.ID, a.Identity.Provider)
	e.Detail = map[string]string{"slug": t.Slug}
	return t, a.tx.Audit(e)
}

// takeProfile brings the labels of somebody who joined by signing in up to date:
// his provider is the only one who knows them. The user name stays, others know him
// by it. An address that another member shows to applications is not taken over
// (row O12): changing it at the IdP must not make him look like that member.
func (a *admission) takeProfile(m Member) (Member, bool, error) {
	if m.Source != SourceSSO || m.Connection != "" {
		return m, false, nil
	}
	next, p := m, a.Profile
	for _, f := range []struct {
		to    *string
		value string
	}{{&next.DisplayName, p.DisplayName}, {&next.GivenName, p.GivenName}, {&next.FamilyName, p.FamilyName}} {
		if f.value != "" {
			*f.to = f.value
		}
	}
	if p.Email != "" && p.Email != m.Email {
		taken := false
		var err error
		if FoldUserName(p.Email) != FoldUserName(m.Email) {
			if taken, err = a.tx.EmailTaken(FoldUserName(p.Email)); err != nil {
				return m, false, err
			}
		}
		if taken {
			e := a.Actor.event("member.email_refused", m.ID, a.Identity.Provider)
			e.Reason = "email_taken"
			if err := a.tx.Audit(e); err != nil {
				return m, false, err
			}
		} else {
			next.Email = p.Email
		}
	}
	what := m.diff(next)
	if len(what) == 0 {
		return m, false, nil
	}
	next.Version++
	next.Modified = later(a.d.now(), m.Modified)
	if err := a.tx.UpdateMember(next, m.Version); err != nil {
		return m, false, err
	}
	e := a.Actor.event("member.profile_updated", m.ID, a.Identity.Provider)
	e.Detail = map[string]string{"changed": strings.Join(what, " ")}
	return next, true, a.tx.Audit(e)
}

// settle is what a sign-in changes of a member who may pass, and the row that
// makes his cached principals stale (a lost team closes streams of its routes).
func (a *admission) settle() (seq int64, err error) {
	m, profile, err := a.takeProfile(a.member)
	if err != nil {
		return 0, err
	}
	teams, err := a.takeGroups(m)
	if err != nil {
		return 0, err
	}
	a.member = m
	if a.audit != nil {
		if err := a.tx.Audit(*a.audit); err != nil {
			return 0, err
		}
	}
	if !profile && !teams {
		return 0, nil
	}
	return a.tx.Revoke(Revocation{Kind: Recheck, Scope: ScopeMembers, Target: string(m.ID), Reason: "signed_in", At: a.d.now()})
}
