package member

import (
	"context"
	"errors"
)

// Foresee answers what [Directory.Admit] would, and leaves nothing behind: no
// member, no link, no acceptance, no audit event and no letter can come of it. It
// is Admit itself, in a transaction that is always rolled back, so that the two
// cannot drift apart.
func (d *Directory) Foresee(ctx context.Context, l Login) (Member, error) {
	dry := *d
	dry.Store, dry.Revoker, dry.Letters = undone{d.Store}, nobody{}, nil
	return dry.Admit(ctx, l)
}

// errUndone makes a store roll back what went well.
var errUndone = errors.New("member: rolled back on purpose")

// undone is a Store whose changes never stay.
type undone struct{ store Store }

// View implements Store.
func (u undone) View(ctx context.Context, fn func(Tx) error) error { return u.store.View(ctx, fn) }

// Update implements Store. It runs fn as the store would and never commits.
func (u undone) Update(ctx context.Context, fn func(Tx) error) error {
	err := u.store.Update(ctx, func(tx Tx) error {
		if err := fn(tx); err != nil {
			return err
		}
		return errUndone
	})
	if errors.Is(err, errUndone) {
		return nil
	}
	return err
}

// nobody is a Revoker with nothing to wait for: no revocation is ever committed.
type nobody struct{}

// Barrier implements Revoker.
func (nobody) Barrier(context.Context, int64) error { return nil }
