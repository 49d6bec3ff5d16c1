package proxy

import (
	"math/rand/v2"
	"testing"
	"time"
)

// The ends found are those that walking all sessions would find.
func TestEndsAreFoundWhateverComesAndGoes(t *testing.T) {
	//nolint:gosec // a schedule, not a secret
	rnd := rand.New(rand.NewPCG(1, 2))
	for range 200 {
		var e ends
		start := time.Unix(0, 0)
		all := map[*group]bool{}
		for step := range 100 {
			switch rnd.IntN(4) {
			case 0, 1:
				g := &group{}
				all[g] = true
				e.add(g, start.Add(time.Duration(rnd.IntN(120))*time.Second))
			case 2:
				for g := range all {
					e.remove(g)
					delete(all, g)
					break
				}
			case 3:
				now := start.Add(time.Duration(step) * time.Second)
				due := map[*group]bool{}
				for _, g := range e.due(now) {
					due[g] = true
				}
				for g := range all {
					if due[g] == now.Before(g.end) {
						t.Fatalf("a session that ends at %s at %s: due %t", g.end, now, due[g])
					}
					delete(due, g)
				}
				if len(due) != 0 {
					t.Fatal("found one that is gone")
				}
			}
		}
	}
}
