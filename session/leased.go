package session

import (
	"context"
	"sync"

	"github.com/ssogate/ssogate/internal/secret"
)

// Leased keeps principals that somebody else reads, those of machines, on the terms
// on which a [Manager] keeps people's: only under the lease, and only while nothing
// was applied that concerns them since they were read (C3). Nothing is shared between
// requests that miss at once: each does its own read, begun after it arrived (C4).
// Safe for concurrent use.
type Leased struct {
	cutoff *Cutoff
	most   int

	mu sync.RWMutex
	m  map[secret.Hash]leased
}

type leased struct {
	p   *Principal
	gen int64 // of the lease it was read under
}

// NewLeased makes an empty one that holds so many principals at most.
func (c *Cutoff) NewLeased(most int) *Leased {
	return &Leased{cutoff: c, most: most, m: map[secret.Hash]leased{}}
}

// Get answers what is held and may be used now, or nil: then it must be read.
func (l *Leased) Get(h secret.Hash) *Principal {
	gen, held := l.cutoff.lease.held()
	if !held {
		return nil
	}
	l.mu.RLock()
	e := l.m[h]
	l.mu.RUnlock()
	if e.p == nil || e.gen != gen || !l.cutoff.floors.fresh(e.p) {
		return nil
	}
	return e.p
}

// Read answers the principal with this hash as it is now and holds it where the lease
// allows that. read brings it together with the revocation log's number as of the same
// snapshot; its errors are the answer. What was revoked while it was read is read again.
func (l *Leased) Read(ctx context.Context, h secret.Hash, read func(context.Context) (Principal, int64, error)) (*Principal, error) {
	for range maxRereads + 1 {
		gen, held := l.cutoff.lease.held()
		asOf := l.cutoff.Applied() // before the read (C3)
		p, seq, err := read(ctx)
		if err != nil {
			return nil, err
		}
		p.asOf = max(asOf, seq)
		if !l.cutoff.floors.fresh(&p) {
			continue
		}
		if now, still := l.cutoff.lease.held(); held && still && now == gen {
			l.put(h, leased{p.Remember(), gen})
		}
		return &p, nil
	}
	return nil, errChanging
}

func (l *Leased) put(h secret.Hash, e leased) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if _, there := l.m[h]; !there && len(l.m) >= l.most {
		for victim := range l.m { // arbitrary: good enough as a policy, constant time
			delete(l.m, victim)
			break
		}
	}
	l.m[h] = e
}

// Stamp makes a principal of what no store of ours keeps, so that the revocation log
// concerns it from now on like any other.
func (c *Cutoff) Stamp(p Principal) *Principal {
	p.asOf = c.Applied()
	return &p
}
