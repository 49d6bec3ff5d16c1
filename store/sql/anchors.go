package sql

import (
	"sync"
	"time"
)

// anchorsKept bounds what is remembered, and anchorReach how far from one a page
// may begin.
const (
	anchorsKept = 256
	anchorReach = 20_000
)

// settled is how old a resource must be for its index to be remembered: longer than
// a transaction may last and clocks may differ. Until then another writer may
// still commit one with an earlier time, which moves those behind it.
const settled = 2 * time.Minute

// anchor is a place whose index was seen: an import that goes through everything
// by startIndex finds each page where the one before ended, however far that is.
type anchor struct {
	of    tally
	index int   // of the resource after place, from 1
	moves int64 // by then; each moves those behind it
	place place
}

// anchors are a memory only: losing them costs time. Safe for concurrent use.
type anchors struct {
	mu   sync.Mutex
	list []anchor
	next int // where the next one goes
}

func (a *anchors) add(x anchor) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, have := range a.list {
		if have == x {
			return
		}
	}
	if len(a.list) < anchorsKept {
		a.list = append(a.list, x)
		return
	}
	a.list[a.next] = x
	a.next = (a.next + 1) % anchorsKept
}

// before is the last anchor at or before an index.
func (a *anchors) before(of tally, index int, moves int64) (best anchor, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, x := range a.list {
		if x.of == of && x.moves == moves && x.index <= index && x.index > best.index && index-x.index <= anchorReach {
			best, ok = x, true
		}
	}
	return best, ok
}

func (p *pager[T]) nearest() (anchor, bool) {
	if p.q.Filter != nil {
		return anchor{}, false
	}
	return p.d.anchors.before(tally{p.q.Connection, p.kind}, p.start, p.moves)
}

// remember keeps where a page ended.
func (p *pager[T]) remember(list []T) {
	n := len(list)
	if n == 0 || p.start+n <= maxPage {
		return
	}
	last := p.key(list[n-1])
	if last.created >= ms(p.d.now().Add(-settled)) {
		return
	}
	p.d.anchors.add(anchor{of: tally{p.q.Connection, p.kind}, index: p.start + n, moves: p.moves, place: last})
}
