package cluster

import (
	"fmt"
	"sort"
	"sync"
	"time"
)

// Verdict is what a request was answered.
type Verdict uint8

// Verdicts.
const (
	Admitted    Verdict = iota // the application answered
	Refused                    // 401 or 403
	Unavailable                // 503: it cannot be known now
	Broken                     // no answer: the connection broke, or nobody listened
	Other                      // anything else, which is a fault of ours
	verdicts
)

func (v Verdict) String() string {
	return [...]string{"admitted", "refused", "503", "broken", "other"}[v]
}

// admission is one request that reached the application. Only these can break the
// guarantee, so only these are kept.
type admission struct {
	began, ended time.Duration
	session      int
	node         int
	round        int
}

// window is the time in which the member is out: from the first byte of the
// 2xx to the first byte of the call that lets him in again.
type window struct {
	from, to time.Duration // to is 0 while he is out
	round    int
	what     string
}

// Tally counts verdicts.
type Tally [verdicts]int

func (t Tally) total() (n int) {
	for _, c := range t {
		n += c
	}
	return n
}

// History is what the clients of one member saw. Safe for concurrent use. All
// times are of one clock, that of the clients.
type History struct {
	mu         sync.Mutex
	admissions []admission
	ends       map[int]window // the deactivation that ended each session
	windows    []window
	member     map[[2]int]*Tally // by round and node
	bystander  map[[2]int]*Tally
	odd        []string
	mark       time.Duration
	since      map[int]map[int]*Tally // by session and node: requests begun after mark
	others     map[int]*Tally         // the bystander's, by node
}

func newHistory() *History {
	h := &History{ends: map[int]window{}, member: map[[2]int]*Tally{}, bystander: map[[2]int]*Tally{}}
	h.Mark(0)
	return h
}

func tally[K comparable](m map[K]*Tally, k K) *Tally {
	if m[k] == nil {
		m[k] = &Tally{}
	}
	return m[k]
}

// Member notes a request with a session of the member.
func (h *History) Member(round, node, session int, began, ended time.Duration, v Verdict) {
	h.mu.Lock()
	defer h.mu.Unlock()
	tally(h.member, [2]int{round, node})[v]++
	if v == Admitted {
		h.admissions = append(h.admissions, admission{began, ended, session, node, round})
	}
	if began > h.mark {
		if h.since[session] == nil {
			h.since[session] = map[int]*Tally{}
		}
		tally(h.since[session], node)[v]++
	}
}

// Bystander notes a request of somebody whom nobody deactivates.
func (h *History) Bystander(round, node int, began time.Duration, v Verdict) {
	h.mu.Lock()
	defer h.mu.Unlock()
	tally(h.bystander, [2]int{round, node})[v]++
	if began > h.mark {
		tally(h.others, node)[v]++
	}
}

// Odd notes what must never happen, whoever it concerns.
func (h *History) Odd(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.odd) < 100 {
		h.odd = append(h.odd, fmt.Sprintf(format, args...))
	}
}

func (h *History) hopeless() bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.odd) >= 10
}

// Mark begins a new count: see Since.
func (h *History) Mark(at time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.mark, h.since, h.others = at, map[int]map[int]*Tally{}, map[int]*Tally{}
}

// Since counts the answers to requests with a session that began after the mark.
func (h *History) Since(session, node int) Tally {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t := h.since[session][node]; t != nil {
		return *t
	}
	return Tally{}
}

// Others is Since for the bystander.
func (h *History) Others(node int) Tally {
	h.mu.Lock()
	defer h.mu.Unlock()
	if t := h.others[node]; t != nil {
		return *t
	}
	return Tally{}
}

// Out notes the 2xx to a deactivation.
func (h *History) Out(round int, at time.Duration, what string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.windows = append(h.windows, window{from: at, round: round, what: what})
}

// Dead notes that the last deactivation ended a session.
func (h *History) Dead(session int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ends[session] = h.windows[len(h.windows)-1]
}

// In notes that a call that re-activates is about to be sent.
func (h *History) In(at time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if n := len(h.windows); n > 0 && h.windows[n-1].to == 0 {
		h.windows[n-1].to = at
	}
}

// Violations judges the history (G1): no request that began after the 2xx and
// before the next activation was admitted, whatever its session; and no session
// that a deactivation ended was ever admitted again.
func (h *History) Violations() []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	var out []string
	for _, a := range h.admissions {
		if end, ok := h.ends[a.session]; ok && a.began > end.from {
			out = append(out, fmt.Sprintf("round %d, node %d: session %d was admitted %v after the 2xx of round %d (%s): began %v, ended %v, 2xx %v",
				a.round, a.node, a.session, a.began-end.from, end.round, end.what, a.began, a.ended, end.from))
			continue
		}
		// The first window that ends after the request began.
		i := sort.Search(len(h.windows), func(i int) bool { return h.windows[i].to == 0 || h.windows[i].to > a.began })
		if i < len(h.windows) && a.began > h.windows[i].from {
			w := h.windows[i]
			out = append(out, fmt.Sprintf("round %d, node %d: session %d was admitted %v after the 2xx of round %d (%s), before he was let in again: began %v, ended %v, 2xx %v",
				a.round, a.node, a.session, a.began-w.from, w.round, w.what, a.began, a.ended, w.from))
		}
	}
	return append(out, h.odd...)
}

// Last answers, for each node that admitted anything in a round, how long before
// the 2xx the last admitted request began.
func (h *History) Last(round int) map[int]time.Duration {
	h.mu.Lock()
	defer h.mu.Unlock()
	var from time.Duration
	for _, w := range h.windows {
		if w.round == round {
			from = w.from
		}
	}
	out := map[int]time.Duration{}
	for i := len(h.admissions) - 1; i >= 0 && h.admissions[i].round >= round-1; i-- {
		a := h.admissions[i]
		if a.round != round {
			continue
		}
		if d, ok := out[a.node]; !ok || from-a.began < d {
			out[a.node] = from - a.began
		}
	}
	return out
}

// Round is what was answered in one round on one node.
func (h *History) Round(round, node int) (member, bystander Tally) {
	h.mu.Lock()
	defer h.mu.Unlock()
	return *tally(h.member, [2]int{round, node}), *tally(h.bystander, [2]int{round, node})
}
