package cluster

import (
	"math/rand/v2"
	"slices"
	"syscall"
	"time"
)

// via is which node a deactivation is sent to first.
type via int

const (
	anyNode via = iota
	victim
	others
)

// Fault is something that breaks around one deactivation, and what may be seen
// while it does. Whatever the fault: nobody who was cut off is admitted.
type Fault struct {
	Name string

	place int // in the order of a run: -1 first, 1 last

	only      []Form                   // nil: all
	begin     func(r *Rounds, n *Node) // when everything is warm
	meanwhile func(r *Rounds, n *Node) // beside the deactivation
	end       func(r *Rounds, n *Node) // after its 2xx; returns when healed
	scim      via
	mute      bool // the victim answers nothing between begin and end
	loses     bool // sessions may be lost: a bystander may have to sign in again
	may503    bool // who must be read may be answered 503
	grace     bool // the victim's streams may live as long as it may be without SQL
	restarts  bool // the victim's streams end with its process
	allGrace  bool // as grace, for all nodes and all members
	late      bool // healed only after the re-activation: what Redis was not told to forget is still there
}

// Calm is the round in which nothing breaks.
const Calm = "none"

// Faults are all that a form of Redis can meet, the calm first.
func Faults(f Form) []Fault {
	var out []Fault
	for _, x := range faults() {
		if x.only == nil || slices.Contains(x.only, f) {
			out = append(out, x)
		}
	}
	return out
}

func faults() []Fault {
	each := func(f func(*Node)) func(*Rounds, *Node) {
		return func(r *Rounds, _ *Node) {
			for _, n := range r.c.Nodes {
				f(n)
			}
		}
	}
	one := func(f func(*Node)) func(*Rounds, *Node) { return func(_ *Rounds, n *Node) { f(n) } }
	soon := func(most time.Duration) { time.Sleep(rand.N(most)) } //nolint:gosec // where it hits is chance on purpose
	return []Fault{
		{Name: Calm},
		{Name: "a node cut from Redis", begin: one((*Node).CutRedis), end: one((*Node).RestoreRedis), scim: victim, may503: true},
		{Name: "a node's Redis connections silent", begin: one((*Node).HoldRedis), end: one((*Node).RestoreRedis), may503: true},
		{Name: "Redis slow for all", begin: each(func(n *Node) { n.SlowRedis(400 * time.Millisecond) }), end: each((*Node).RestoreRedis), may503: true},
		{Name: "Redis out of reach for all", begin: each((*Node).CutRedis), end: each((*Node).RestoreRedis), may503: true},
		{Name: "Redis back only after the re-activation", begin: each((*Node).CutRedis), end: each((*Node).RestoreRedis), may503: true, late: true},
		{Name: "Redis flushed", begin: func(r *Rounds, _ *Node) { r.c.Redis.Flush() }, loses: true},
		{Name: "Redis answers swapped", begin: one((*Node).SwapRedis), end: one((*Node).RestoreRedis), may503: true},
		{Name: "Redis restarted", only: []Form{Single}, meanwhile: func(r *Rounds, _ *Node) { r.c.Redis.Failover() }, may503: true},
		{Name: "Redis failover", place: -1, only: []Form{Sentinel, Masters}, meanwhile: func(r *Rounds, _ *Node) { r.c.Redis.Failover() }, may503: true, loses: true},
		{Name: "Redis split brain", place: 1, only: []Form{Sentinel, Masters}, meanwhile: func(r *Rounds, _ *Node) { r.c.Redis.Split() }, may503: true, loses: true},
		{Name: "a node cut from SQL", begin: one(func(n *Node) { n.SQL.Cut() }), end: backToSQL, scim: others, may503: true, grace: true},
		{Name: "a node's SQL connections silent", begin: one(func(n *Node) { n.SQL.Hold() }), end: backToSQL, scim: others, may503: true, grace: true},
		{Name: "SQL slow for a node", begin: one(func(n *Node) { n.SQL.Delay(300 * time.Millisecond) }), end: one(func(n *Node) { n.SQL.Restore() }), scim: others, may503: true, grace: true},
		{Name: "PostgreSQL restarted", meanwhile: func(r *Rounds, _ *Node) {
			r.c.Postgres.Stop()
			r.c.Postgres.Start(r.c.t)
		}, may503: true, allGrace: true},
		{Name: "a node frozen past the answer", begin: freeze, end: thaw, scim: others, mute: true, grace: true, may503: true},
		{Name: "a node frozen and resumed in the middle", begin: freeze, meanwhile: func(r *Rounds, n *Node) {
			soon(1500 * time.Millisecond)
			thaw(r, n)
		}, scim: others, mute: true, grace: true, may503: true},
		{Name: "the publishing node killed", meanwhile: func(_ *Rounds, n *Node) {
			soon(12 * time.Millisecond)
			n.current().kill()
		}, end: restart, scim: victim, mute: true, restarts: true},
		{Name: "another node killed", begin: one(func(n *Node) { n.current().kill() }), end: restart, scim: others, mute: true, restarts: true},
		{Name: "a node replaced in a rolling deploy", begin: replace, end: func(r *Rounds, n *Node) {
			n.waitReady()
			r.c.takeOut(n.Index, false)
		}, scim: others, mute: true, restarts: true},
	}
}

func freeze(r *Rounds, n *Node) {
	r.c.takeOut(n.Index, true)
	n.current().signal(syscall.SIGSTOP)
}

func thaw(r *Rounds, n *Node) {
	n.current().signal(syscall.SIGCONT)
	r.c.takeOut(n.Index, false)
}

func restart(r *Rounds, n *Node) {
	n.current().kill() // also when it was not hit yet
	n.launch()
	n.waitReady()
}

// backToSQL waits with the healing until the streams of the victim have been
// closed for want of contact: see Rounds.streams.
func backToSQL(r *Rounds, n *Node) {
	for _, s := range r.open {
		if s.Node == n.Index {
			s.Ended(Grace + patience)
		}
	}
	n.SQL.Restore()
}

// replace stops a node in good order while its successor joins.
func replace(r *Rounds, n *Node) {
	old := n.current()
	r.c.takeOut(n.Index, true)
	old.signal(syscall.SIGTERM)
	n.launch()
	r.leaving = append(r.leaving, old)
}
