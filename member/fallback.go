package member

import (
	"context"
	"errors"
)

// ErrNotFallback means a member who is no fallback owner.
var ErrNotFallback = errors.New("member: not a fallback owner")

// CreateFallbackOwner makes an owner whom no identity provider can reach or remove:
// he has no connection and can have no identity, and signs in with credentials of
// this gateway alone. The draft's user name, display name and e-mail count. Errors:
// [ErrConflict], *[InvalidError].
func (d *Directory) CreateFallbackOwner(ctx context.Context, by Actor, draft Member) (Member, error) {
	now := d.now()
	m := Member{
		ID: NewID(), UserName: draft.UserName, DisplayName: draft.DisplayName, Email: draft.Email,
		Role: RoleOwner, Source: SourceLocal, Fallback: true, Wish: true, Accepted: true,
		Epoch: 1, Version: 1, Created: now, Modified: now,
	}
	if err := m.clean(); err != nil {
		return Member{}, err
	}
	err := d.Store.Update(ctx, func(tx Tx) error {
		if err := free(tx, m); err != nil {
			return err
		}
		if err := tx.InsertMember(m); err != nil {
			return err
		}
		e := by.event("member.created", m.ID, "")
		e.Detail = map[string]string{"user_name": m.UserName, "role": string(m.Role), "fallback": "true"}
		return tx.Audit(e)
	})
	if err != nil {
		return Member{}, err
	}
	return m, nil
}

// RestoreFallbackOwner finds a fallback owner by user name, and makes him one who may
// come in again, whatever was done to him since: whoever runs the host says so.
// Errors: [ErrNotFound], [ErrNotFallback].
func (d *Directory) RestoreFallbackOwner(ctx context.Context, by Actor, userName string) (m Member, err error) {
	err = d.Store.Update(ctx, func(tx Tx) error {
		if m, err = tx.MemberByUserName(FoldUserName(userName)); err != nil {
			return err
		}
		if !m.Fallback {
			return ErrNotFallback
		}
		if m.Admitted() && m.Role == RoleOwner {
			return nil
		}
		version := m.Version
		m.Role, m.Wish, m.Accepted, m.Suspended = RoleOwner, true, true, false
		m.Version++
		m.Modified = later(d.now(), m.Modified)
		if err := tx.UpdateMember(m, version); err != nil {
			return err
		}
		return tx.Audit(by.event("member.restored", m.ID, ""))
	})
	if err != nil {
		return Member{}, err
	}
	return m, nil
}

// AdmitLocal is [Directory.Admit] for somebody who has just shown credentials of this
// gateway. m is the member as he was before they were compared: if anything that ends
// sessions has happened since, they may be the old ones, and he is refused.
// Errors: [ErrNotFound], *[Refusal].
func (d *Directory) AdmitLocal(ctx context.Context, m Member) (Member, error) {
	var now Member
	err := d.Store.View(ctx, func(tx Tx) error {
		// The number first, as in Admit: what ends everybody after this moment ends
		// the session that is made of this admission too (C6).
		asOf, err := tx.LatestRevocation("", "")
		if err != nil {
			return err
		}
		if now, err = tx.Member(m.ID); err != nil {
			return err
		}
		now.AsOf = asOf
		return nil
	})
	switch {
	case err != nil:
		return Member{}, err
	case now.Suspended:
		return Member{}, &Refusal{RefusedSuspended, now}
	case !now.Wish:
		return Member{}, &Refusal{RefusedDeactivated, now}
	case !now.Admitted(), now.Epoch != m.Epoch:
		return Member{}, &Refusal{Member: now}
	}
	return now, nil
}
