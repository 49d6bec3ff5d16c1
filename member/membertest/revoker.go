package membertest

import (
	"context"
	"slices"
	"sync"

	"github.com/ssogate/ssogate/member"
)

// Revoker is a barrier that holds at once and remembers the numbers it was
// asked for. Safe for concurrent use.
type Revoker struct {
	mu   sync.Mutex
	seqs []int64
	err  error
}

// Barrier implements member.Revoker.
func (r *Revoker) Barrier(_ context.Context, seq int64) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.seqs = append(r.seqs, seq)
	return r.err
}

// Fail makes Barrier answer err from now on; nil makes it hold again.
func (r *Revoker) Fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

// Take answers the numbers waited for since the last call.
func (r *Revoker) Take() []int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	seqs := r.seqs
	r.seqs = nil
	return slices.Clone(seqs)
}

// Interface guard.
var _ member.Revoker = (*Revoker)(nil)
