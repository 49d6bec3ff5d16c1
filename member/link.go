package member

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// ErrLinked means that a member has an identity at that provider already: one per
// member and provider, or nobody could say which of two people he is.
var ErrLinked = errors.New("member: has an identity at this provider already")

// Link ties an identity to a member by an owner's decision, and clears the mark of
// its removal. It is the one way past the rules of [Directory.Admit], so the caller
// must have authority over accounts.
//
// Errors: [ErrNotFound], [ErrFallback] (a fallback owner has no way in but his own),
// [ErrLinked], [ErrConflict] when it belongs to somebody else, *[InvalidError].
// Repeating it is no error.
func (d *Directory) Link(ctx context.Context, by Actor, id ID, i Identity) error {
	for name, part := range map[string]string{"provider": i.Provider, "issuer": i.Issuer, "subject": i.Subject} {
		if part == "" {
			return &InvalidError{name, "is empty"}
		}
		if err := checkToken(name, part, MaxSubject); err != nil {
			return err
		}
	}
	return d.Store.Update(ctx, func(tx Tx) error {
		m, err := tx.Member(id)
		if err != nil {
			return err
		}
		if m.Fallback {
			return ErrFallback
		}
		known, err := tx.IdentitiesOf(id)
		switch {
		case err != nil:
			return err
		case slices.Contains(known, i):
			return nil
		case slices.ContainsFunc(known, func(k Identity) bool { return k.Provider == i.Provider }):
			return ErrLinked
		}
		if err := tx.InsertIdentity(id, i); err != nil {
			return err
		}
		if err := tx.DeleteTombstones("", i); err != nil {
			return err
		}
		e := by.event("member.linked", id, i.Provider)
		e.Detail = map[string]string{"issuer": i.Issuer, "by_hand": "true"}
		return tx.Audit(e)
	})
}

// Unlink takes a member's identity at a provider away and ends the sessions that he
// has through it, everywhere, before it returns. Somebody who joined by himself may
// join again as another member where the provider's join allows it: deactivate or
// suspend a member whom you want out.
//
// Errors: [ErrNotFound] for the member; without an identity there it waits for the
// cut-off of an earlier call and is no error.
func (d *Directory) Unlink(ctx context.Context, by Actor, id ID, provider string) error {
	if provider == "" {
		return &InvalidError{"provider", "is empty"}
	}
	l := Logins{Member: id, Provider: provider}
	var seq int64
	err := d.Store.Update(ctx, func(tx Tx) error {
		seq = 0
		if _, err := tx.Member(id); err != nil {
			return err
		}
		known, err := tx.IdentitiesOf(id)
		if err != nil {
			return err
		}
		at := slices.IndexFunc(known, func(k Identity) bool { return k.Provider == provider })
		if at < 0 {
			seq, err = tx.LatestRevocation(ScopeLogins, l.Target())
			return err
		}
		if err := tx.DeleteIdentity(id, known[at]); err != nil {
			return err
		}
		e := by.event("member.unlinked", id, provider)
		e.Detail = map[string]string{"issuer": known[at].Issuer}
		if err := tx.Audit(e); err != nil {
			return err
		}
		seq, err = tx.Revoke(Revocation{Kind: End, Scope: ScopeLogins, Target: l.Target(), Reason: "unlinked", At: d.now()})
		return err
	})
	if err != nil {
		return err
	}
	return d.barrier(ctx, seq)
}

// Readmit clears the marks of a person whom an identity provider removed (see
// Delete), known by what the provider calls him: he may join again. It answers
// how many there were. [InvalidError] without a provider or a name.
func (d *Directory) Readmit(ctx context.Context, by Actor, i Identity) (int, error) {
	if i.Provider == "" || i.Subject == "" {
		return 0, &InvalidError{"identity", "names no provider or person"}
	}
	cleared := 0
	err := d.Store.Update(ctx, func(tx Tx) error {
		cleared = 0
		marks := removedMarks(i.Provider, i.Subject, i.Subject)
		if i.Issuer != "" {
			marks = append(marks, i)
		}
		for _, k := range marks {
			t, err := tx.Tombstone(k)
			if errors.Is(err, ErrNotFound) {
				continue
			}
			if err != nil {
				return err
			}
			// All of that member's: his identity and what he was called.
			if err := errors.Join(tx.DeleteTombstones(t.Member, Identity{}), tx.DeleteTombstones("", k)); err != nil {
				return err
			}
			cleared++
		}
		if cleared == 0 {
			return nil
		}
		e := by.event("member.readmitted", "", i.Provider)
		e.Detail = map[string]string{"subject": fmt.Sprintf("%.100s", i.Subject)}
		return tx.Audit(e)
	})
	return cleared, err
}

// Identities are a member's, by provider. [ErrNotFound].
func (d *Directory) Identities(ctx context.Context, id ID) ([]Identity, error) {
	var out []Identity
	err := d.Store.View(ctx, func(tx Tx) error {
		if _, err := tx.Member(id); err != nil {
			return err
		}
		var err error
		out, err = tx.IdentitiesOf(id)
		return err
	})
	return out, err
}
