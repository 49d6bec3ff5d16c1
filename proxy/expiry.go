package proxy

import (
	"container/heap"
	"time"
)

// ends finds the sessions whose absolute end has come without looking at the
// others: with 20,000 streams, walking all of them twice a second held the
// registry's lock for a millisecond. Most sessions have something running for
// milliseconds only, so they wait in a list first, where coming and going costs
// nothing; those that a sweep still finds move into a heap. Guarded by live.mu.
type ends struct {
	young []*group
	old   endHeap
}

// add puts in a session's group, whose end is the zero time where it has none.
func (e *ends) add(g *group, end time.Time) {
	g.place, g.end = nowhere, end
	if end.IsZero() {
		return
	}
	g.place, g.at = inYoung, len(e.young)
	e.young = append(e.young, g)
}

func (e *ends) remove(g *group) {
	switch g.place {
	case inYoung:
		last := e.young[len(e.young)-1]
		e.young[g.at], last.at = last, g.at
		e.young[len(e.young)-1] = nil
		e.young = e.young[:len(e.young)-1]
	case inOld:
		heap.Remove(&e.old, g.at)
	case nowhere:
	}
	g.place = nowhere
}

// due answers what has ended by now. It is answered again the next time, until
// it is removed: something may have been registered in between.
func (e *ends) due(now time.Time) []*group {
	for i, g := range e.young {
		e.young[i], g.place = nil, inOld
		heap.Push(&e.old, g)
	}
	e.young = e.young[:0]
	var out []*group
	for len(e.old) > 0 && !now.Before(e.old[0].end) {
		g, _ := heap.Pop(&e.old).(*group)
		out = append(out, g)
	}
	for _, g := range out {
		e.add(g, g.end)
	}
	return out
}

type place uint8

const (
	nowhere place = iota
	inYoung
	inOld
)

// endHeap implements heap.Interface.
type endHeap []*group

func (h endHeap) Len() int           { return len(h) }
func (h endHeap) Less(i, j int) bool { return h[i].end.Before(h[j].end) }
func (h endHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].at, h[j].at = i, j
}

func (h *endHeap) Push(x any) {
	g, _ := x.(*group)
	g.at = len(*h)
	*h = append(*h, g)
}

func (h *endHeap) Pop() any {
	last := len(*h) - 1
	g := (*h)[last]
	(*h)[last] = nil
	*h = (*h)[:last]
	return g
}

var _ heap.Interface = (*endHeap)(nil)
