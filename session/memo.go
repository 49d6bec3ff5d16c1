package session

import "sync/atomic"

// maxMemo bounds what is kept with one principal. Beyond it everything is made anew.
const maxMemo = 64

// Memo keeps what others make of a principal, by a key of theirs, for as long as the
// principal is cached: what is the same for all its requests is made once. It goes
// with the principal, so that nothing of a former one is ever read. A nil Memo keeps
// nothing. Safe for concurrent use.
type Memo struct {
	of   *Principal
	head atomic.Pointer[memo]
}

type memo struct {
	key, value any
	next       *memo
	n          int // of it and what follows
}

// Remember gives p a [Memo]. Call it before p is shared.
func (p *Principal) Remember() *Principal {
	p.memo = &Memo{of: p}
	return p
}

// Memo is p's own. A copy of a principal has none: it may be about to be changed.
func (p *Principal) Memo() *Memo {
	if p.memo == nil || p.memo.of != p {
		return nil
	}
	return p.memo
}

// Get answers what was kept under a key, which must be comparable, or nil.
func (m *Memo) Get(key any) any {
	if m == nil {
		return nil
	}
	for e := m.head.Load(); e != nil; e = e.next {
		if e.key == key {
			return e.value
		}
	}
	return nil
}

// Put keeps a value, unless there is one, and answers what is kept: of two requests
// that make it at once both use the same one.
func (m *Memo) Put(key, value any) any {
	if m == nil {
		return value
	}
	for {
		head := m.head.Load()
		for e := head; e != nil; e = e.next {
			if e.key == key {
				return e.value
			}
		}
		e := &memo{key: key, value: value, next: head, n: 1}
		if head != nil {
			if e.n = head.n + 1; e.n > maxMemo {
				e.next, e.n = nil, 1
			}
		}
		if m.head.CompareAndSwap(head, e) {
			return value
		}
	}
}
