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
// provider that is gone or switched off end in the same act. Of the version that is in
// effect it waits for the nodes once more: after an error of the barrier the change is
// durable, and a retry must not be told that there is nothing to do.
//
// Errors: [ErrNotFound], [ErrNotDraft], *[ConflictError] when another version was
// published since the draft was made, *[RefusedError] with every reason why Require
// SSO does not allow it.
func (m *Manager) Publish(ctx context.Context, by member.Actor, number int64) (v Version, err error) {
	var seq int64
	err = m.Store.UpdateSettings(ctx, func(tx Tx) error {
		if err := tx.LockSettings(); err != nil {
			return err
		}
		r, err := tx.Version(number)
		if errors.Is(err, member.ErrNotFound) {
			return ErrNotFound
		}
		if err != nil {
			return err
		}
		if v, err = m.open(r); err != nil {
			return err
		}
		switch r.State {
		case Draft:
		case Published:
			seq, err = tx.LatestRevocation("", "")
			return err
		default:
			return ErrNotDraft
		}
		now, err := m.published(tx)
		if err != nil {
			return err
		}
		if now.Number != v.Parent {
			return &ConflictError{Base: v.Parent, Latest: now.Number, Author: now.Author}
		}
		if err := m.check(tx, now.Stored, v.Stored); err != nil { // the file may have changed since
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

// Apply is Save and Publish as one act: refused, it leaves no draft that somebody
// might publish later, when it means something else. Errors are those of both.
func (m *Manager) Apply(ctx context.Context, by member.Actor, base int64, comment string, change func(*Stored) error) (v Version, err error) {
	if len(comment) > maxComment {
		return v, &InvalidError{"comment", "is too long"}
	}
	var seq int64
	err = m.Store.UpdateSettings(ctx, func(tx Tx) error {
		var now Version
		if now, v, err = m.draft(tx, by, base, comment, change); err != nil {
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

// mayPublish is the rule of Require SSO (product, section 2). Turned on, every active
// provider must have passed a test as it is, those of the config file too, and somebody
// must get in without an IdP. While it is on, whoever decides that, a provider that is
// changed or switched on must have passed one. What a change leaves alone does not hold
// it up: a provider that cannot be trusted any more must be switched off though the
// last test of another one failed.
func (m *Manager) mayPublish(tx Tx, now, s Stored) error {
	on, managed := m.Managed()
	if !managed {
		on = s.RequireSSO
	}
	if !on {
		return nil
	}
	turnedOn := !managed && !now.RequireSSO
	file, err := m.File()
	if err != nil {
		return err
	}
	active := len(file)
	var prove []Provider
	if turnedOn {
		prove = slices.Clone(file)
	}
	for _, p := range s.Providers {
		if !p.Active || slices.ContainsFunc(file, func(f Provider) bool { return f.ID == p.ID }) {
			continue
		}
		active++
		if turnedOn || !now.proved(p) {
			prove = append(prove, p)
		}
	}
	why, err := unproved(tx, prove)
	if err != nil {
		return err
	}
	if active == 0 {
		why = append(why, "no provider is active, so nobody could sign in: turn Require SSO off first")
	}
	// Also when it is confirmed, since from then on nothing reverts any more.
	if turnedOn || !now.ConfirmBy.IsZero() && s.ConfirmBy.IsZero() {
		owner, err := tx.FallbackOwner()
		if err != nil {
			return err
		}
		if !owner {
			why = append(why, "there is no fallback owner, who gets in when the identity provider is down")
		}
	}
	if len(why) > 0 {
		return &RefusedError{why}
	}
	return nil
}

// unproved says which of these have not passed their last test.
func unproved(tx Tx, list []Provider) (why []string, err error) {
	for _, p := range list {
		r, err := tx.Result(p.ID, Digest(p))
		switch {
		case errors.Is(err, member.ErrNotFound):
			why = append(why, "provider "+p.ID+" was not tested as it is now")
		case err != nil:
			return nil, err
		case !r.Passed:
			why = append(why, "the last test of provider "+p.ID+" as it is now failed")
		}
	}
	return why, nil
}

// proved reports whether p was active in s as it is.
func (s Stored) proved(p Provider) bool {
	return slices.ContainsFunc(s.Providers, func(o Provider) bool { return o.ID == p.ID && o.Active && Digest(o) == Digest(p) })
}

// put writes v as published over now, if it may. It ends with the rows of the
// revocation log.
func (m *Manager) put(tx Tx, by member.Actor, now Version, v *Version) (seq int64, err error) {
	if err := m.mayPublish(tx, now.Stored, v.Stored); err != nil {
		return 0, err
	}
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
	for _, p := range v.Stored.Providers {
		if p.Active && !now.Stored.active(p.ID) {
			// A sign-in that raced the switching off, on a node that had not read it yet,
			// left a session that is refused as long as the provider is off. It must not
			// come alive with it.
			rows = append(rows, member.Revocation{Kind: member.End, Scope: member.ScopeProvider, Target: p.ID, Reason: "provider_enabled"})
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
	if _, managed := m.Managed(); managed {
		return Version{}, &InvalidError{"require_sso", "is fixed by the config file: change it there"}
	}
	comment := "Require SSO off"
	if on {
		comment = "Require SSO on"
	}
	return m.Apply(ctx, by, base, comment, func(s *Stored) error {
		if s.RequireSSO && on {
			return nil // as it is: turning it on again does not put the end off
		}
		s.RequireSSO, s.ConfirmBy = on, time.Time{}
		if on {
			s.ConfirmBy = m.now().Add(confirmWithin)
		}
		return nil
	})
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
	return m.Apply(ctx, by, now.Number, "Require SSO confirmed", func(s *Stored) error {
		s.ConfirmBy = time.Time{}
		return nil
	})
}

// Revert turns Require SSO off where nobody has confirmed it in time (G5). Every node
// may call it at any time; of those that do so at once one does it. It reports
// whether this call did.
func (m *Manager) Revert(ctx context.Context) (bool, error) {
	now, err := m.Current(ctx)
	if err != nil || now.Stored.ConfirmBy.IsZero() || m.now().Before(now.Stored.ConfirmBy) {
		return false, err
	}
	v, err := m.Apply(ctx, member.Actor{Name: "system"}, now.Number, "Require SSO was not confirmed in time", func(s *Stored) error {
		s.RequireSSO, s.ConfirmBy = false, time.Time{}
		return nil
	})
	if _, ok := errors.AsType[*ConflictError](err); ok {
		return false, nil // another node did it
	}
	// With an error of the barrier it is durable all the same: not every node has it yet.
	return v.Number != 0, err
}
