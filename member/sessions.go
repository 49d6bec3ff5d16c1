package member

import (
	"context"
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
		seq, err = d.raise(tx, by, m, m, "member.signed_out", reason)
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
		out.Suspended = suspended
		if suspended {
			seq, err = d.raise(tx, by, m, out, "member.suspended", "suspended")
			out.Epoch, out.Version, out.Modified = m.Epoch+1, m.Version+1, later(d.now(), m.Modified)
			return err
		}
		// The epoch rises here too: a session from before stays dead.
		out.Epoch, out.Version, out.Modified = m.Epoch+1, m.Version+1, later(d.now(), m.Modified)
		if err := tx.UpdateMember(out, m.Version); err != nil {
			return err
		}
		return tx.Audit(by.event("member.unsuspended", id, ""))
	})
	if err != nil {
		return Member{}, err
	}
	return out, d.barrier(ctx, seq)
}

// raise stores next, made from m, under a new epoch and ends what was before it.
func (d *Directory) raise(tx Tx, by Actor, m, next Member, kind, reason string) (int64, error) {
	next.Epoch, next.Version, next.Modified = m.Epoch+1, m.Version+1, later(d.now(), m.Modified)
	if err := tx.UpdateMember(next, m.Version); err != nil {
		return 0, err
	}
	e := by.event(kind, m.ID, "")
	e.Reason = reason
	if err := tx.Audit(e); err != nil {
		return 0, err
	}
	return tx.Revoke(Revocation{
		Kind: End, Scope: ScopeMember, Target: string(m.ID), Epoch: next.Epoch, Reason: reason, At: d.now(),
	})
}
