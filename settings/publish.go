package settings

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ssogate/ssogate/member"
)

// Publish puts a draft into effect: in one transaction the version, what it ends and
// what makes every node read it anew; it returns when all have. Sessions through a
// provider that is gone or switched off end in the same act.
//
// Errors: [ErrNotFound], [ErrNotDraft], *[ConflictError] when another version was
// published since the draft was made, *[RefusedError] with every reason why Require
// SSO does not allow it.
func (m *Manager) Publish(ctx context.Context, by member.Actor, number int64) (v Version, err error) {
	var seq int64
	err = m.Store.UpdateSettings(ctx, func(tx Tx) error {
		seq = 0
		r, err := tx.Version(number)
		if errors.Is(err, member.ErrNotFound) {
			return ErrNotFound
		}
		if err != nil {
			return err
		}
		if r.State != Draft {
			return ErrNotDraft
		}
		if v, err = m.open(r); err != nil {
			return err
		}
		now, err := m.published(tx)
		if err != nil {
			return err
		}
		if now.Number != v.Parent {
			return &ConflictError{Base: v.Parent, Latest: now.Number, Author: now.Author}
		}
		if err := m.check(tx, v.Stored); err != nil { // the file may have changed since
			return err
		}
		if err := m.mayPublish(tx, v.Stored); err != nil {
			return err
		}
		seq, err = m.put(tx, by, now, &v)
		return err
	})
	if err != nil {
		return Version{}, err
	}
	return v, m.Revoker.Barrier(ctx, seq)
}

// mayPublish is the rule of Require SSO (product, section 2): while it is on nothing
// untested is in effect, and somebody gets in without an IdP.
func (m *Manager) mayPublish(tx Tx, s Stored) error {
	if !s.RequireSSO || m.Managed() {
		return nil
	}
	var why []string
	active := 0
	for _, p := range s.Providers {
		if !p.Active {
			continue
		}
		active++
		r, err := tx.Result(p.ID, Digest(p))
		switch {
		case errors.Is(err, member.ErrNotFound):
			why = append(why, "provider "+p.ID+" was not tested as it is now")
		case err != nil:
			return err
		case !r.Passed:
			why = append(why, "the last test of provider "+p.ID+" as it is now failed")
		}
	}
	if active+len(m.File()) == 0 {
		why = append(why, "no provider is active")
	}
	owner, err := tx.FallbackOwner()
	if err != nil {
		return err
	}
	if !owner {
		why = append(why, "there is no fallback owner, who gets in when the identity provider is down")
	}
	if len(why) > 0 {
		return &RefusedError{why}
	}
	return nil
}

// put writes v as published over now. It ends with the rows of the revocation log.
func (m *Manager) put(tx Tx, by member.Actor, now Version, v *Version) (seq int64, err error) {
	if now.Number != 0 {
		if err := tx.MoveVersion(now.Number, Published, Superseded, now.Published); err != nil {
			return 0, err
		}
	}
	v.State, v.Published = Published, m.now()
	if err := tx.MoveVersion(v.Number, Draft, Published, v.Published); err != nil {
		return 0, err
	}
	if err := tx.SetSettingsVersion(LiveVersion(v.Number)); err != nil {
		return 0, err
	}
	if err := tx.Audit(m.event(by, "settings.published", *v, Diff(now.Stored, v.Stored))); err != nil {
		return 0, err
	}
	rows := []member.Revocation{}
	for _, p := range now.Stored.Providers {
		if p.Active && !v.Stored.active(p.ID) {
			rows = append(rows, member.Revocation{Kind: member.End, Scope: member.ScopeProvider, Target: p.ID, Reason: "provider_disabled"})
		}
	}
	if v.Stored.RequireSSO && !now.Stored.RequireSSO {
		rows = append(rows, member.Revocation{Kind: member.End, Scope: member.ScopeAll, Reason: "require_sso"})
	}
	// First what ends, then what is read anew: who acknowledges the second has done the first.
	rows = append(rows, member.Revocation{Kind: member.Reload, Scope: member.ScopeAll, Target: member.ReloadSettings, Reason: fmt.Sprintf("version %d", v.Number)})
	for _, r := range rows {
		r.At = m.now()
		if seq, err = tx.Revoke(r); err != nil {
			return 0, err
		}
	}
	return seq, nil
}

func (s Stored) active(id string) bool {
	return slices.ContainsFunc(s.Providers, func(p Provider) bool { return p.ID == id && p.Active })
}

// SetRequireSSO turns the switch, as a version of its own that is published at once.
// Turned on it must be confirmed within ten minutes ([Manager.Confirm]), or it reverts
// ([Manager.Revert]). Errors are those of Publish, and *[InvalidError] where the config
// file fixes it.
func (m *Manager) SetRequireSSO(ctx context.Context, by member.Actor, base int64, on bool) (Version, error) {
	if m.Managed() {
		return Version{}, &InvalidError{"require_sso", "is fixed by the config file: change it there"}
	}
	comment := "Require SSO off"
	if on {
		comment = "Require SSO on"
	}
	v, err := m.Save(ctx, by, base, comment, func(s *Stored) error {
		s.RequireSSO, s.ConfirmBy = on, time.Time{}
		if on {
			s.ConfirmBy = m.now().Add(confirmWithin)
		}
		return nil
	})
	if err != nil {
		return Version{}, err
	}
	return m.Publish(ctx, by, v.Number)
}

// Confirm keeps Require SSO on: the caller has seen an owner come back through SSO.
func (m *Manager) Confirm(ctx context.Context, by member.Actor) (Version, error) {
	now, err := m.Current(ctx)
	if err != nil || now.Stored.ConfirmBy.IsZero() {
		return now, err
	}
	if !m.now().Before(now.Stored.ConfirmBy) {
		return Version{}, &RefusedError{[]string{"the ten minutes are over: Require SSO is turned off again"}}
	}
	v, err := m.Save(ctx, by, now.Number, "Require SSO confirmed", func(s *Stored) error {
		s.ConfirmBy = time.Time{}
		return nil
	})
	if err != nil {
		return Version{}, err
	}
	return m.Publish(ctx, by, v.Number)
}

// Revert turns Require SSO off where nobody has confirmed it in time (G5). Every node
// may call it at any time; of those that do so at once one does it. It reports
// whether this call did.
func (m *Manager) Revert(ctx context.Context) (bool, error) {
	now, err := m.Current(ctx)
	if err != nil || now.Stored.ConfirmBy.IsZero() || m.now().Before(now.Stored.ConfirmBy) {
		return false, err
	}
	by := member.Actor{Name: "system"}
	v, err := m.Save(ctx, by, now.Number, "Require SSO was not confirmed in time", func(s *Stored) error {
		s.RequireSSO, s.ConfirmBy = false, time.Time{}
		return nil
	})
	if err == nil {
		_, err = m.Publish(ctx, by, v.Number)
	}
	var conflict *ConflictError
	if errors.As(err, &conflict) || errors.Is(err, member.ErrConflict) || errors.Is(err, ErrNotDraft) {
		return false, nil // another node did it
	}
	return err == nil, err
}
