package session

import (
	"strings"
	"sync"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
)

// maxFloors bounds the memory of floors. Past it they are folded into the floor
// for all, which is safe: principals merely have to be read again.
const maxFloors = 50_000

// floors remember, for what each applied revocation concerned, its number: a
// principal read before it is stale (C3). Eviction from the cache is only
// memory hygiene; this is what decides.
type floors struct {
	mu      sync.RWMutex
	all     int64
	max     int64
	member  map[member.ID]int64
	session map[secret.Hash]int64
	prov    map[string]int64
}

func newFloors() *floors {
	return &floors{member: map[member.ID]int64{}, session: map[secret.Hash]int64{}, prov: map[string]int64{}}
}

// raise records a revocation.
func (f *floors) raise(r member.Revocation) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.max = max(f.max, r.Seq)
	switch r.Scope {
	case member.ScopeMember:
		f.member[member.ID(r.Target)] = max(f.member[member.ID(r.Target)], r.Seq)
	case member.ScopeLogins: // the member's other sessions are only read again
		if l, ok := member.ParseLogins(r.Target); ok {
			f.member[l.Member] = max(f.member[l.Member], r.Seq)
		}
	case member.ScopeMembers:
		for id := range strings.FieldsSeq(r.Target) {
			f.member[member.ID(id)] = max(f.member[member.ID(id)], r.Seq)
		}
	case member.ScopeSession:
		if h, err := secret.ParseHash(r.Target); err == nil { // else it names no session that could be shown
			f.session[h] = max(f.session[h], r.Seq)
		}
	case member.ScopeProvider:
		f.prov[r.Target] = max(f.prov[r.Target], r.Seq)
	default: // ScopeAll, and any scope this version does not know: everything is stale
		f.all = max(f.all, r.Seq)
	}
	if len(f.member)+len(f.session)+len(f.prov) > maxFloors {
		f.all = f.max
		clear(f.member)
		clear(f.session)
		clear(f.prov)
	}
}

// reset forgets everything: the numbers of another history mean nothing.
func (f *floors) reset() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.all, f.max = 0, 0
	clear(f.member)
	clear(f.session)
	clear(f.prov)
}

// fresh reports whether nothing applied since p was read concerns it.
func (f *floors) fresh(p *Principal) bool {
	f.mu.RLock()
	defer f.mu.RUnlock()
	return p.asOf >= f.all && p.asOf >= f.member[p.Member.ID] &&
		p.asOf >= f.prov[p.Provider] && p.asOf >= f.session[p.Session]
}
