package member

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// CreateTeam makes a team of the connection, with its first members. The slug
// comes from the display name and never changes; where it is taken the team
// gets "<provider>.<slug>", then "<provider>.<slug>-2" and so on.
//
// Errors: [ErrConflict] when the connection has a team of that name (compared
// folded), *[UnknownMembersError], *[InvalidError]. Waits until its members'
// cached principals are stale.
func (d *Directory) CreateTeam(ctx context.Context, by Actor, c Connection, draft Team, ids []ID) (Team, error) {
	if c.ID == "" {
		return Team{}, ErrOutOfScope
	}
	now := d.now()
	t := Team{
		ID: NewID(), DisplayName: draft.DisplayName, Connection: c.ID, ExternalID: draft.ExternalID,
		Version: 1, Created: now, Modified: now,
	}
	if err := t.clean(); err != nil {
		return Team{}, err
	}
	var seq int64
	// A race for the same slug is lost as ErrConflict; the next look finds it taken.
	err := again(func() error {
		return d.Store.Update(ctx, func(tx Tx) error {
			seq = 0
			if err := freeTeam(tx, t); err != nil {
				return err
			}
			var err error
			if t.Slug, err = freeSlug(tx, c, t.DisplayName); err != nil {
				return err
			}
			if err := tx.InsertTeam(t); err != nil {
				return err
			}
			n, err := changeMembers(tx, c, t.ID, []MembershipStep{{Op: AddMembers, IDs: ids}})
			if err != nil {
				return err
			}
			seq, err = d.noteTeam(tx, by, c, "team.created", t, n)
			return err
		})
	})
	if err != nil {
		return Team{}, err
	}
	return t, d.barrier(ctx, seq)
}

// clean normalises the labels of t.
func (t *Team) clean() error {
	t.DisplayName = cleanLabel(t.DisplayName)
	switch {
	case t.DisplayName == "":
		return &InvalidError{"displayName", "is empty"}
	case len(t.DisplayName) > 4*MaxLabel || len([]rune(t.DisplayName)) > MaxLabel:
		return &InvalidError{"displayName", "is too long"}
	}
	return checkToken("externalId", t.ExternalID, MaxExternalID)
}

// freeTeam answers ErrConflict when the connection has another team of that name.
func freeTeam(tx Tx, t Team) error {
	other, err := tx.TeamByName(t.Connection, FoldUserName(t.DisplayName))
	switch {
	case errors.Is(err, ErrNotFound):
		return nil
	case err != nil:
		return err
	case other.ID == t.ID:
		return nil
	}
	return fmt.Errorf("%w: displayName", ErrConflict)
}

// freeSlug finds the first free slug for a name.
func freeSlug(tx Tx, c Connection, name string) (string, error) {
	slug := slugOf(name)
	for n := 0; n < 10_000; n++ {
		try := slug
		if n > 0 {
			try = c.Provider + "." + slug
		}
		if n > 1 {
			try += "-" + strconv.Itoa(n)
		}
		_, err := tx.TeamBySlug(try)
		if errors.Is(err, ErrNotFound) {
			return try, nil
		}
		if err != nil {
			return "", err
		}
	}
	return "", fmt.Errorf("%w: slug %q", ErrConflict, slug)
}

// memberships is what a change set did: how many rows, and whose they may be.
type memberships struct {
	changed int
	of      []ID // every member that a step named or moved, sorted
}

// changeMembers applies steps in order and answers what changed. An id outside
// the connection's scope refuses the whole change.
func changeMembers(tx Tx, c Connection, team ID, steps []MembershipStep) (ch memberships, err error) {
	var named []ID
	for _, s := range steps {
		if s.Op == AddMembers || s.Op == ReplaceMembers {
			named = append(named, s.IDs...)
		}
	}
	slices.Sort(named)
	named = slices.Compact(named)
	if len(named) > 0 {
		unknown, err := tx.UnknownMembers(c.ID, named)
		if err != nil {
			return memberships{}, err
		}
		if len(unknown) > 0 {
			return memberships{}, &UnknownMembersError{IDs: unknown}
		}
	}
	for _, s := range steps {
		n, of, err := changeStep(tx, team, s)
		if err != nil {
			return memberships{}, err
		}
		ch.changed += n
		ch.of = append(ch.of, of...)
	}
	slices.Sort(ch.of)
	ch.of = slices.Compact(ch.of)
	return ch, nil
}

func changeStep(tx Tx, team ID, s MembershipStep) (n int, of []ID, err error) {
	ids := slices.Clone(s.IDs)
	slices.Sort(ids) // one order for row locks, whoever changes the team
	ids = slices.Compact(ids)
	switch s.Op {
	case AddMembers:
		n, err = tx.AddMemberships(team, ids)
		return n, ids, err
	case RemoveMembers:
		n, err = tx.RemoveMemberships(team, ids)
		return n, ids, err
	case ReplaceMembers:
		now, err := tx.MembersOf(team)
		if err != nil {
			return 0, nil, err
		}
		var out []ID
		for _, m := range now {
			if _, stays := slices.BinarySearch(ids, m.ID); !stays {
				out = append(out, m.ID)
			}
		}
		removed, err := tx.RemoveMemberships(team, out)
		if err != nil {
			return 0, nil, err
		}
		added, err := tx.AddMemberships(team, ids)
		return removed + added, append(out, ids...), err
	}
	return 0, nil, &InvalidError{"members", "has an unknown operation"}
}

// maxIDLength bounds what may be an id of a member; ours have 26.
const maxIDLength = 64

// noteTeam audits a change of a team and, when memberships changed, makes
// cached principals stale: ONE row for the whole change set, whatever its size.
func (d *Directory) noteTeam(tx Tx, by Actor, c Connection, kind string, t Team, ch memberships) (int64, error) {
	e := by.event(kind, t.ID, c.Provider)
	e.Detail = map[string]string{"slug": t.Slug, "memberships_changed": strconv.Itoa(ch.changed)}
	if err := tx.Audit(e); err != nil {
		return 0, err
	}
	if ch.changed == 0 {
		return 0, nil
	}
	r := Revocation{Kind: Recheck, Scope: ScopeAll, Reason: kind, At: d.now()}
	// A step may name anything to be removed; what cannot be an id of ours is in no team.
	names := make([]string, 0, len(ch.of))
	for _, id := range ch.of {
		if len(id) <= maxIDLength && !strings.ContainsFunc(string(id), unicode.IsSpace) {
			names = append(names, string(id))
		}
	}
	// A change that names more than a row holds concerns everybody: asking all
	// again costs less than a row for each.
	if target := strings.Join(names, " "); len(target) <= MaxTarget {
		r.Scope, r.Target = ScopeMembers, target
	}
	return tx.Revoke(r)
}

// teamScope finds a team the connection may see.
func (c Connection) teamScope(tx Tx, id ID) (Team, error) {
	t, err := tx.Team(id)
	if err != nil {
		return Team{}, err
	}
	if c.ID == "" || t.Connection != c.ID {
		return Team{}, ErrOutOfScope
	}
	return t, nil
}

// GetTeam reads a team in the connection's scope: [ErrNotFound], [ErrOutOfScope].
func (d *Directory) GetTeam(ctx context.Context, c Connection, id ID) (Team, error) {
	var t Team
	err := d.Store.View(ctx, func(tx Tx) (err error) {
		t, err = c.teamScope(tx, id)
		return err
	})
	return t, err
}

// TeamMembers reads who is in a team, by id: [ErrNotFound], [ErrOutOfScope].
func (d *Directory) TeamMembers(ctx context.Context, c Connection, id ID) ([]TeamMember, error) {
	var out []TeamMember
	err := d.Store.View(ctx, func(tx Tx) (err error) {
		if _, err = c.teamScope(tx, id); err != nil {
			return err
		}
		out, err = tx.MembersOf(id)
		return err
	})
	return out, err
}

// UpdateTeam applies a change atomically. ifVersion 0 means any version. The
// slug stays. Without a difference nothing is written.
//
// Errors: [ErrNotFound], [ErrOutOfScope], [ErrVersion], [ErrConflict] (display
// name), *[UnknownMembersError], *[InvalidError].
func (d *Directory) UpdateTeam(ctx context.Context, by Actor, c Connection, id ID, ifVersion int64, ch TeamChange) (Team, error) {
	var out Team
	var seq int64
	err := d.Store.Update(ctx, func(tx Tx) error {
		out, seq = Team{}, 0
		t, err := c.teamScope(tx, id)
		if err != nil {
			return err
		}
		if ifVersion != 0 && t.Version != ifVersion {
			return ErrVersion
		}
		next := t
		if ch.DisplayName != nil {
			next.DisplayName = *ch.DisplayName
		}
		if ch.ExternalID != nil {
			next.ExternalID = *ch.ExternalID
		}
		if err := next.clean(); err != nil {
			return err
		}
		if next.DisplayName != t.DisplayName {
			if err := freeTeam(tx, next); err != nil {
				return err
			}
		}
		n, err := changeMembers(tx, c, id, ch.Steps)
		if err != nil {
			return err
		}
		out = t
		if n.changed == 0 && next == t {
			// A repeated "remove" that failed after its commit must still wait
			// for the cut-off of the first one (C2). Which row that was is not known:
			// the end of the log is not before it.
			if len(ch.Steps) > 0 {
				seq, err = tx.LatestRevocation("", "")
			}
			return err
		}
		next.Version++
		next.Modified = later(d.now(), t.Modified)
		if err := tx.UpdateTeam(next, t.Version); err != nil {
			return err
		}
		out = next
		seq, err = d.noteTeam(tx, by, c, "team.updated", next, n)
		return err
	})
	if err != nil {
		return Team{}, err
	}
	return out, d.barrier(ctx, seq)
}

// DeleteTeam removes a team; its members stay. Its slug becomes free.
//
// Errors: [ErrNotFound] (a repeated call waits for the first one's cut-off),
// [ErrOutOfScope], [ErrVersion].
func (d *Directory) DeleteTeam(ctx context.Context, by Actor, c Connection, id ID, ifVersion int64) error {
	var seq int64
	var missing error
	err := d.Store.Update(ctx, func(tx Tx) error {
		seq, missing = 0, nil
		t, err := c.teamScope(tx, id)
		if errors.Is(err, ErrNotFound) {
			missing = err
			seq, err = tx.LatestRevocation("", "") // the first call's row is not after it
			return err
		}
		if err != nil {
			return err
		}
		if ifVersion != 0 && t.Version != ifVersion {
			return ErrVersion
		}
		members, err := tx.MembersOf(id)
		if err != nil {
			return err
		}
		if err := tx.DeleteTeam(id, t.Version); err != nil {
			return err
		}
		ch := memberships{changed: len(members)}
		for _, m := range members {
			ch.of = append(ch.of, m.ID)
		}
		seq, err = d.noteTeam(tx, by, c, "team.deleted", t, ch)
		return err
	})
	if err != nil {
		return err
	}
	if err := d.barrier(ctx, seq); err != nil {
		return err
	}
	return missing
}
