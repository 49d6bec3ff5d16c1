package member

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/ssogate/ssogate/audit"
)

// Create provisions a member for a connection, from the labels, ExternalID,
// Wish, Document and Role of draft, and the ID where the caller has made one with
// [NewID]; everything else is ours. He is invited unless the connection activates
// at once.
//
// Who has signed in through the connection's provider already and belongs to no
// connection is adopted under the name: he keeps his id, role, teams and sessions.
//
// Errors: [ErrConflict] when the user name is taken, also by a lookalike (C03);
// *[InvalidError]; [ErrRole] for the role owner. Tombstones of the person who is
// thus provisioned again are cleared, nobody else's.
func (d *Directory) Create(ctx context.Context, by Actor, c Connection, draft Member) (Member, error) {
	now := d.now()
	m := Member{
		ID: NewID(), UserName: draft.UserName, DisplayName: draft.DisplayName,
		GivenName: draft.GivenName, FamilyName: draft.FamilyName, Email: draft.Email,
		Role: RoleMember, Source: SourceSCIM, Wish: draft.Wish, Accepted: c.Activation == ActivateImmediate,
		Epoch: 1, Version: 1, Connection: c.ID, ExternalID: draft.ExternalID,
		Document: slices.Clone(draft.Document), Created: now, Modified: now,
	}
	if MadeHere(draft.ID) { // never one that a client chose (C02)
		m.ID = draft.ID
	}
	if c.ID == "" {
		return Member{}, ErrOutOfScope
	}
	if err := c.assign(&m, draft.Role); err != nil {
		return Member{}, err
	}
	if err := m.clean(); err != nil {
		return Member{}, err
	}
	var seq int64
	out := m
	err := d.Store.Update(ctx, func(tx Tx) (err error) {
		out, seq = m, 0
		if old, ok, err := adoptable(tx, c, m.UserName); err != nil {
			return err
		} else if ok {
			out, seq, err = d.takeOver(tx, by, c, old, m)
			return err
		}
		if err := free(tx, m); err != nil {
			return err
		}
		if err := tx.InsertMember(m); err != nil {
			return err
		}
		if err := provisionedAgain(tx, c, m); err != nil {
			return err
		}
		if err := d.invite(tx, c, m); err != nil {
			return err
		}
		e := by.event("member.created", m.ID, c.Provider)
		e.Detail = map[string]string{"user_name": m.UserName}
		return tx.Audit(e)
	})
	if err != nil {
		return Member{}, err
	}
	return out, d.barrier(ctx, seq)
}

// free answers ErrConflict or *InvalidError for a name m may not have. A taken
// name is reported as taken even where it is invalid too: a lookalike of an
// existing member is a 409, like any other second claim to his name (C03).
func free(tx Tx, m Member) error {
	key := UserNameKey(m.UserName)
	taken, err := tx.UserNameTaken(key)
	switch {
	case err != nil:
		return err
	case taken && key != "":
		return fmt.Errorf("%w: userName", ErrConflict)
	}
	return checkUserName(m.UserName)
}

// provisionedAgain clears the tombstones of the member that m was before.
func provisionedAgain(tx Tx, c Connection, m Member) error {
	for _, mark := range removedMarks(c.Provider, m.UserName, m.ExternalID) {
		t, err := tx.Tombstone(mark)
		if errors.Is(err, ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		// All identities of that member: the mark names him, they are his.
		if err := tx.DeleteTombstones(t.Member, Identity{}); err != nil {
			return err
		}
	}
	return nil
}

// assign gives m the role a connection asks for. Owner is never given or taken
// by SCIM, whatever the connection may do otherwise (C04); any other role is
// ignored unless it may (C02).
func (c Connection) assign(m *Member, role Role) error {
	switch {
	case role == m.Role || role == "":
		return nil
	case role == RoleOwner:
		return ErrRole
	case !c.MaySetRole:
		return nil
	case m.Role == RoleOwner:
		return ErrRole
	case role != RoleMember && role != RoleManager:
		return &InvalidError{"role", "is not a role"}
	}
	m.Role = role
	return nil
}

// scope finds a member the connection may see. The answer to a foreign id is
// the same as to an unknown one (C09).
func (c Connection) scope(tx Tx, id ID) (Member, error) {
	m, err := tx.Member(id)
	if err != nil {
		return Member{}, err
	}
	if c.ID == "" || m.Connection != c.ID {
		return Member{}, ErrOutOfScope
	}
	return m, nil
}

// Get reads a member in the connection's scope and his teams: [ErrNotFound],
// [ErrOutOfScope].
func (d *Directory) Get(ctx context.Context, c Connection, id ID) (m Member, teams []Team, err error) {
	err = d.Store.View(ctx, func(tx Tx) error {
		if m, err = c.scope(tx, id); err != nil {
			return err
		}
		teams, err = tx.TeamsOf(id)
		return err
	})
	if err != nil {
		return Member{}, nil, err
	}
	return m, teams, nil
}

// Update changes a member in the connection's scope. change edits a copy inside
// the transaction and may run more than once; only UserName, the names, Email,
// ExternalID, Wish, Document and Role count. ifVersion 0 means any version.
// Without a difference nothing is written, not even Modified.
//
// Wish true to false ends every session made before and waits for the cut-off;
// so does a call that finds it false already (C2). Wish false to true raises the
// epoch, so that no session from before comes back (C10). Other changes an
// application can see make cached principals stale.
//
// Errors: [ErrNotFound], [ErrOutOfScope], [ErrVersion], [ErrConflict] (user
// name), [ErrFallback], [ErrRole], *[InvalidError], and what change returned.
func (d *Directory) Update(ctx context.Context, by Actor, c Connection, id ID, ifVersion int64, change func(*Member) error) (Member, error) {
	var out Member
	var seq int64
	err := d.Store.Update(ctx, func(tx Tx) error {
		out, seq = Member{}, 0
		m, err := tx.Member(id)
		if err != nil {
			return err
		}
		if m.Fallback && m.Connection != c.ID {
			return ErrFallback // any change at all (C04); its id alone tells nothing
		}
		if m, err = c.scope(tx, id); err != nil {
			return err
		}
		if ifVersion != 0 && m.Version != ifVersion {
			return ErrVersion
		}
		next, err := c.edit(m, change)
		if err != nil {
			return err
		}
		what := m.diff(next)
		if len(what) > 0 {
			if err := d.write(tx, m, &next, what); err != nil {
				return err
			}
			if err := d.reinvite(tx, c, m, next); err != nil {
				return err
			}
			if err := tx.Audit(updated(by, c, m, next, what)); err != nil {
				return err
			}
			if seq, err = d.revokeChange(tx, m, next, what); err != nil {
				return err
			}
		}
		out = next
		if !next.Wish && seq == 0 {
			seq, err = tx.LatestRevocation(ScopeMember, string(id))
		}
		return err
	})
	if err != nil {
		return Member{}, err
	}
	if err := d.barrier(ctx, seq); err != nil {
		return out, err
	}
	return out, nil
}

// edit runs change on a copy and takes over what a connection may change.
func (c Connection) edit(m Member, change func(*Member) error) (Member, error) {
	draft := m
	draft.Document = slices.Clone(m.Document)
	if err := change(&draft); err != nil {
		return Member{}, err
	}
	next := m
	next.UserName, next.DisplayName, next.GivenName = draft.UserName, draft.DisplayName, draft.GivenName
	next.FamilyName, next.Email, next.ExternalID = draft.FamilyName, draft.Email, draft.ExternalID
	next.Wish, next.Document = draft.Wish, draft.Document
	if err := c.assign(&next, draft.Role); err != nil {
		return Member{}, err
	}
	if m.Fallback && (m.Wish && !next.Wish || m.UserName != next.UserName || m.Role != next.Role) {
		return Member{}, ErrFallback
	}
	return next, next.clean()
}

// diff names what changed, in the words of the audit log.
func (m Member) diff(n Member) []string {
	var what []string
	for _, f := range []struct {
		name string
		same bool
	}{
		{"user_name", m.UserName == n.UserName},
		{"display_name", m.DisplayName == n.DisplayName},
		{"given_name", m.GivenName == n.GivenName},
		{"family_name", m.FamilyName == n.FamilyName},
		{"email", m.Email == n.Email},
		{"external_id", m.ExternalID == n.ExternalID},
		{"active", m.Wish == n.Wish},
		{"role", m.Role == n.Role},
		{"document", sameJSON(m.Document, n.Document)},
	} {
		if !f.same {
			what = append(what, f.name)
		}
	}
	return what
}

// sameJSON compares without regard to white space. A document written by the
// same encoder twice is equal; anything else counts as a change.
func sameJSON(a, b json.RawMessage) bool {
	if bytes.Equal(a, b) {
		return true
	}
	var x, y bytes.Buffer
	if json.Compact(&x, a) != nil || json.Compact(&y, b) != nil {
		return false
	}
	return bytes.Equal(x.Bytes(), y.Bytes())
}

// write stores a changed member and finishes next.
func (d *Directory) write(tx Tx, m Member, next *Member, what []string) error {
	if slices.Contains(what, "user_name") {
		if UserNameKey(m.UserName) != UserNameKey(next.UserName) {
			if err := free(tx, *next); err != nil {
				return err
			}
		} else if err := checkUserName(next.UserName); err != nil {
			return err
		}
	}
	if m.Wish != next.Wish {
		// Both ways: sessions from before end now, and re-activation does not
		// bring them back.
		next.Epoch++
	}
	next.Version++
	next.Modified = later(d.now(), m.Modified)
	return tx.UpdateMember(*next, m.Version)
}

func updated(by Actor, c Connection, m, next Member, what []string) (e audit.Event) {
	kind := "member.updated"
	switch {
	case m.Wish && !next.Wish:
		kind = "member.deactivated"
	case !m.Wish && next.Wish:
		kind = "member.reactivated"
	case m.Role != next.Role:
		kind = "member.role_changed"
	}
	e = by.event(kind, m.ID, c.Provider)
	e.Detail = map[string]string{"changed": strings.Join(what, " ")}
	return e
}

// revokeChange appends the row that a change needs, if any.
func (d *Directory) revokeChange(tx Tx, m, next Member, what []string) (int64, error) {
	r := Revocation{Kind: Recheck, Scope: ScopeMember, Target: string(m.ID), Epoch: next.Epoch, Reason: "updated", At: d.now()}
	switch {
	case m.Wish && !next.Wish:
		r.Kind, r.Reason = End, "deactivated"
	case m.Role != next.Role:
		r.Reason = "role_changed"
	case !m.Admitted():
		return 0, nil // no principal of his can be cached
	default:
		// What an application sees of him: cached principals carry it.
		seen := []string{"user_name", "display_name", "given_name", "family_name", "email"}
		if !slices.ContainsFunc(what, func(w string) bool { return slices.Contains(seen, w) }) {
			return 0, nil
		}
	}
	return tx.Revoke(r)
}

// Delete removes a member in the connection's scope, ends his sessions and
// leaves tombstones of all his identities, and of the attributes by which the
// IdP would match him if he never signed in. A repeated call for a member who is
// gone waits for the same cut-off and answers [ErrNotFound] (C2).
//
// Errors: [ErrNotFound], [ErrOutOfScope], [ErrVersion], [ErrFallback].
func (d *Directory) Delete(ctx context.Context, by Actor, c Connection, id ID, ifVersion int64) error {
	var seq int64
	var missing error
	err := d.Store.Update(ctx, func(tx Tx) error {
		seq, missing = 0, nil
		m, err := tx.Member(id)
		if errors.Is(err, ErrNotFound) {
			missing = err
			seq, err = tx.LatestRevocation(ScopeMember, string(id))
			return err
		}
		switch {
		case err != nil:
			return err
		case m.Fallback:
			return ErrFallback
		case c.ID == "" || m.Connection != c.ID:
			return ErrOutOfScope
		case ifVersion != 0 && m.Version != ifVersion:
			return ErrVersion
		}
		if err := d.bury(tx, c, m); err != nil {
			return err
		}
		if err := tx.DeleteMember(id, m.Version); err != nil {
			return err
		}
		e := by.event("member.deleted", id, c.Provider)
		e.Detail = map[string]string{"user_name": m.UserName}
		if err := tx.Audit(e); err != nil {
			return err
		}
		seq, err = tx.Revoke(Revocation{
			Kind: End, Scope: ScopeMember, Target: string(id), Epoch: m.Epoch + 1, Reason: "deleted", At: d.now(),
		})
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

// later keeps Modified from running backwards when the clock does: an IdP that
// asks for what changed since its last look must not miss this change.
func later(now, before time.Time) time.Time {
	if now.Before(before) {
		return before
	}
	return now
}
