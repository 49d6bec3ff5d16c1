package sql

import "sync"

// anchorsKept bounds what is remembered, and anchorReach how far from one a page
// may begin.
const (
	anchorsKept = 256
	anchorReach = 20_000
)

// anchor is a place whose index was seen: an import that goes through everything
// by startIndex finds each page where the one before ended, however far that is.
type anchor struct {
	of      tally
	index   int   // of the resource after place, from 1
	removed int64 // by then; each removal moves those behind it
	place   place
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
func (a *anchors) before(of tally, index int, removed int64) (best anchor, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, x := range a.list {
		if x.of == of && x.removed == removed && x.index <= index && x.index > best.index && index-x.index <= anchorReach {
			best, ok = x, true
		}
	}
	return best, ok
}

func (p *pager[T]) nearest() (anchor, bool) {
	if p.q.Filter != nil {
		return anchor{}, false
	}
	return p.d.anchors.before(tally{p.q.Connection, p.kind}, p.start, p.removed)
}

// remember keeps where a page ended.
func (p *pager[T]) remember(list []T) {
	if n := len(list); n > 0 && p.start+n > maxPage {
		p.d.anchors.add(anchor{
			of: tally{p.q.Connection, p.kind}, index: p.start + n, removed: p.removed, place: p.key(list[n-1]),
		})
	}
}
