package member

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// ErrNotAdoptable means a member whom a connection cannot take over, or give up: a
// fallback owner, one who belongs to a connection already, or to none.
var ErrNotAdoptable = errors.New("member: cannot change hands")

// adoptable finds the member who has the user name that a connection wants to
// create, if it may take him over: he belongs to no connection and signs in
// through this very provider, so that the provider is known to speak for him. Any
// other taken name stays a conflict (C03): whoever provisions a name must not
// thereby get somebody's account.
func adoptable(tx Tx, c Connection, userName string) (Member, bool, error) {
	m, err := tx.MemberByUserName(FoldUserName(userName))
	switch {
	case errors.Is(err, ErrNotFound):
		return Member{}, false, nil
	case err != nil:
		return Member{}, false, err
	case m.Connection != "" || m.Fallback || c.ID == "":
		return Member{}, false, nil
	}
	known, err := tx.IdentitiesOf(m.ID)
	if err != nil {
		return Member{}, false, err
	}
	return m, slices.ContainsFunc(known, func(i Identity) bool { return i.Provider == c.Provider && c.Provider != "" }), nil
}

// takeOver gives m to a connection, with the labels and the wish of what it wanted
// to create. His id, role, teams and acceptance stay.
func (d *Directory) takeOver(tx Tx, by Actor, c Connection, m, want Member) (out Member, seq int64, err error) {
	next := m
	next.UserName, next.DisplayName, next.GivenName = want.UserName, want.DisplayName, want.GivenName
	next.FamilyName, next.Email, next.ExternalID = want.FamilyName, want.Email, want.ExternalID
	next.Document, next.Wish, next.Connection = want.Document, want.Wish, c.ID
	if err := next.clean(); err != nil {
		return Member{}, 0, err
	}
	what := append(m.diff(next), "connection")
	if err := d.write(tx, m, &next, what); err != nil {
		return Member{}, 0, err
	}
	e := by.event("member.adopted", m.ID, c.Provider)
	e.Detail = map[string]string{"user_name": next.UserName, "connection": c.ID}
	if err := tx.Audit(e); err != nil {
		return Member{}, 0, err
	}
	seq, err = d.revokeChange(tx, m, next, what)
	return next, seq, err
}

// Adopt gives a member to a connection by somebody's decision, whatever identities
// he has. From then on the identity provider changes and removes him.
// Errors: [ErrNotFound], [ErrNotAdoptable].
func (d *Directory) Adopt(ctx context.Context, by Actor, c Connection, id ID) (Member, error) {
	return d.handOver(ctx, by, id, "member.adopted", c.Provider, func(m *Member) error {
		switch {
		case c.ID == "":
			return ErrNotAdoptable
		case m.Fallback: // C04
			return fmt.Errorf("%w: a fallback owner is out of reach of every identity provider", ErrNotAdoptable)
		case m.Connection != "":
			return fmt.Errorf("%w: he belongs to %s; release him there first", ErrNotAdoptable, m.Connection)
		}
		m.Connection = c.ID
		return nil
	})
}

// Release takes a member from his connection: the identity provider sees and
// changes him no more. A deactivation of his stays until an owner lifts it by
// deciding about him here. Errors: [ErrNotFound], [ErrNotAdoptable] when he belongs
// to none.
func (d *Directory) Release(ctx context.Context, by Actor, id ID) (Member, error) {
	return d.handOver(ctx, by, id, "member.released", "", func(m *Member) error {
		if m.Connection == "" {
			return fmt.Errorf("%w: he belongs to no connection", ErrNotAdoptable)
		}
		m.Connection, m.ExternalID = "", ""
		return nil
	})
}

func (d *Directory) handOver(ctx context.Context, by Actor, id ID, kind, provider string, change func(*Member) error) (out Member, err error) {
	err = d.Store.Update(ctx, func(tx Tx) error {
		m, err := tx.Member(id)
		if err != nil {
			return err
		}
		next := m
		if err := change(&next); err != nil {
			return err
		}
		next.Version++
		next.Modified = later(d.now(), m.Modified)
		if err := tx.UpdateMember(next, m.Version); err != nil {
			return err
		}
		e := by.event(kind, id, provider)
		e.Detail = map[string]string{"user_name": m.UserName, "connection": m.Connection + next.Connection}
		out = next
		return tx.Audit(e)
	})
	if err != nil {
		return Member{}, err
	}
	return out, nil
}

// bury writes the tombstones of m.
func (d *Directory) bury(tx Tx, c Connection, m Member) error {
	known, err := tx.IdentitiesOf(m.ID)
	if err != nil {
		return err
	}
	for _, i := range append(known, removedMarks(c.Provider, m.UserName, m.ExternalID)...) {
		if err := tx.InsertTombstone(Tombstone{Identity: i, Member: m.ID, At: d.now()}); err != nil {
			return err
		}
	}
	return nil
}
