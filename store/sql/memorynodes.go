package sql

import (
	"sync"
	"time"

	"github.com/ssogate/ssogate/session"
)

// memoryNodes is the registry of the embedded mode: one process, and no writes
// to disk while it idles. Safe for concurrent use; the zero value is empty.
type memoryNodes struct {
	mu sync.Mutex
	m  map[string]session.Node
}

func (r *memoryNodes) join(n session.Node, now time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.m == nil {
		r.m = map[string]session.Node{}
	}
	n.Seen = now
	r.m[n.ID] = n
}

func (r *memoryNodes) leave(id string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.m, id)
}

func (r *memoryNodes) list() []session.Node {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []session.Node
	for _, n := range r.m {
		out = append(out, n)
	}
	return out
}

func (r *memoryNodes) expel(silent time.Duration, now time.Time) (n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for id, node := range r.m {
		if now.Sub(node.Seen) > silent { // Go compares its monotonic readings
			delete(r.m, id)
			n++
		}
	}
	return n
}

// note is the writing half of a lease: it reports whether the node is registered.
func (r *memoryNodes) note(id string, applied, last int64, now time.Time) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	n, ok := r.m[id]
	if ok {
		n.Applied, n.Seen = min(max(n.Applied, applied), last), now
		r.m[id] = n
	}
	return ok
}

// lowest is the smallest number that a node has acknowledged, or most without one.
func (r *memoryNodes) lowest(most int64) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.m {
		most = min(most, n.Applied)
	}
	return most
}
