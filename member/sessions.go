package member

import (
	"context"
	"strings"
	"unicode/utf8"
)

// EndSession ends one session: a tombstone until its absolute end, so that
// nothing can bring it back, and the cut-off of what it has running. Ending it
// twice is no error and waits again.
func (d *Directory) EndSession(ctx context.Context, by Actor, s EndedSession) error {
	if s.Hash == "" {
		return &InvalidError{"session", "has no hash"}
	}
	var seq int64
	err := d.Store.Update(ctx, func(tx Tx) error {
		seq = 0
		ended, err := tx.SessionEnded(s.Hash)
		if err != nil {
			return err
		}
		if ended {
			seq, err = tx.LatestRevocation(ScopeSession, s.Hash)
			return err
		}
		if err := tx.EndSession(s); err != nil {
			return err
		}
		e := by.event("session.ended", ID(s.Hash[:min(8, len(s.Hash))]), "")
		e.Reason = s.Reason
		if s.Member != "" {
			e.Detail = map[string]string{"member": string(s.Member)}
		}
		if err := tx.Audit(e); err != nil {
			return err
		}
		seq, err = tx.Revoke(Revocation{Kind: End, Scope: ScopeSession, Target: s.Hash, Reason: s.Reason, At: d.now()})
		return err
	})
	if err != nil {
		return err
	}
	return d.barrier(ctx, seq)
}

// EndSessions signs a member out everywhere: his epoch is raised, and nothing
// made under a lower one is admitted again. [ErrNotFound].
func (d *Directory) EndSessions(ctx context.Context, by Actor, id ID, reason string) error {
	var seq int64
	err := d.Store.Update(ctx, func(tx Tx) error {
		m, err := tx.Member(id)
		if err != nil {
			return err
		}
		_, seq, err = d.raise(tx, by, m, "member.signed_out", reason)
		return err
	})
	if err != nil {
		return err
	}
	return d.barrier(ctx, seq)
}

// EndProvider ends every session that was made through a provider, of whomever,
// because it was disabled or can no longer be trusted. One row, whatever their number.
func (d *Directory) EndProvider(ctx context.Context, by Actor, provider, reason string) error {
	if provider == "" {
		return &InvalidError{"provider", "has no id"}
	}
	return d.wide(ctx, by, Revocation{Kind: End, Scope: ScopeProvider, Target: provider, Reason: reason}, "sessions.provider_ended")
}

// EndLogins ends the sessions that a provider's own logout names: a SAML
// LogoutRequest (NameID and SessionIndex) or an OpenID Connect back-channel logout.
// An index that no session can have, and not every store could keep, is an [*InvalidError].
func (d *Directory) EndLogins(ctx context.Context, by Actor, l Logins, reason string) error {
	if len(l.Index) > MaxSessionIndex || !utf8.ValidString(l.Index) || strings.ContainsRune(l.Index, 0) {
		return &InvalidError{"session index", "is too long, or not text"}
	}
	if _, ok := ParseLogins(l.Target()); !ok {
		return &InvalidError{"logout", "names no member or provider"}
	}
	return d.wide(ctx, by, Revocation{Kind: End, Scope: ScopeLogins, Target: l.Target(), Reason: reason}, "sessions.ended_by_provider")
}

// EndEveryone ends every session there is: Require SSO was turned on, or keys leaked.
func (d *Directory) EndEveryone(ctx context.Context, by Actor, reason string) error {
	return d.wide(ctx, by, Revocation{Kind: End, Scope: ScopeAll, Reason: reason}, "sessions.all_ended")
}

// RecheckEveryone makes every cached principal stale and asks again about every
// stream: routes, or what else a decision reads, have changed.
func (d *Directory) RecheckEveryone(ctx context.Context, by Actor, reason string) error {
	return d.wide(ctx, by, Revocation{Kind: Recheck, Scope: ScopeAll, Reason: reason}, "sessions.rechecked")
}

// Reload makes every node read what again ([ReloadSettings], [ReloadKeys]) and
// returns when all have.
func (d *Directory) Reload(ctx context.Context, by Actor, what, reason string) error {
	return d.wide(ctx, by, Revocation{Kind: Reload, Scope: ScopeAll, Target: what, Reason: reason}, "reload."+what)
}

// wide writes a row that may concern many sessions. Repeating such a call writes another
// row, which ends what began in between too.
func (d *Directory) wide(ctx context.Context, by Actor, r Revocation, kind string) error {
	r.At = d.now()
	var seq int64
	err := d.Store.Update(ctx, func(tx Tx) (err error) {
		e := by.event(kind, "", "")
		if r.Scope == ScopeProvider {
			e.Provider = r.Target
		}
		if l, ok := ParseLogins(r.Target); ok && r.Scope == ScopeLogins {
			e.Provider, e.Target = l.Provider, "member:"+string(l.Member)
		}
		e.Reason = r.Reason
		if err := tx.Audit(e); err != nil {
			return err
		}
		seq, err = tx.Revoke(r)
		return err
	})
	if err != nil {
		return err
	}
	return d.barrier(ctx, seq)
}

// Suspend sets or lifts an owner's suspension, with the same cut-off as a
// deactivation. A fallback owner cannot be suspended ([ErrFallback]), or the
// last way in could be closed (G5). [ErrNotFound].
func (d *Directory) Suspend(ctx context.Context, by Actor, id ID, suspended bool) (Member, error) {
	var out Member
	var seq int64
	err := d.Store.Update(ctx, func(tx Tx) error {
		out, seq = Member{}, 0
		m, err := tx.Member(id)
		if err != nil {
			return err
		}
		out = m
		switch {
		case m.Suspended == suspended:
			if suspended {
				seq, err = tx.LatestRevocation(ScopeMember, string(id))
			}
			return err
		case m.Fallback && suspended:
			return ErrFallback
		}
		next := m
		next.Suspended = suspended
		if suspended {
			out, seq, err = d.raise(tx, by, next, "member.suspended", "suspended")
			return err
		}
		// The epoch rises here too: a session from before stays dead.
		if out, err = d.bump(tx, next); err != nil {
			return err
		}
		return tx.Audit(by.event("member.unsuspended", id, ""))
	})
	if err != nil {
		return Member{}, err
	}
	return out, d.barrier(ctx, seq)
}

// bump stores m under a new epoch and version.
func (d *Directory) bump(tx Tx, m Member) (Member, error) {
	version := m.Version
	m.Epoch++
	m.Version++
	m.Modified = later(d.now(), m.Modified)
	return m, tx.UpdateMember(m, version)
}

// raise is bump and the row that ends what was before.
func (d *Directory) raise(tx Tx, by Actor, m Member, kind, reason string) (Member, int64, error) {
	m, err := d.bump(tx, m)
	if err != nil {
		return Member{}, 0, err
	}
	e := by.event(kind, m.ID, "")
	e.Reason = reason
	if err := tx.Audit(e); err != nil {
		return Member{}, 0, err
	}
	seq, err := tx.Revoke(Revocation{
		Kind: End, Scope: ScopeMember, Target: string(m.ID), Epoch: m.Epoch, Reason: reason, At: d.now(),
	})
	return m, seq, err
}
