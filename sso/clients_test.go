package sso_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/ssogate/ssogate/sso"
	"github.com/ssogate/ssogate/sso/ssotest"
)

// refusals opens n pages without cookies and counts those that were refused.
func (b *browser) refusals(n int) int {
	full := 0
	for range n {
		b.jar = map[string]map[string]string{}
		if b.get(app+"/").StatusCode == http.StatusTooManyRequests {
			full++
		}
	}
	return full
}

// TestRowD01OneClientHasItsShareOnceOnAllNodes, and not once on each.
func TestRowD01OneClientHasItsShareOnceOnAllNodes(t *testing.T) {
	shares := ssotest.NewSharesFake(nil)
	nodes := []*world{}
	for range 3 {
		nodes = append(nodes, newWorld(t, func(o *sso.Options) { o.Budget, o.Shares = 100, shares }))
	}
	refused := 0
	for _, w := range nodes {
		refused += w.browser().refusals(40)
	}
	if passed := 3*40 - refused; passed != 50 {
		t.Errorf("one client began %d sign-ins on three nodes, want half the budget of 100 once", passed)
	}
	other := nodes[2].browser()
	other.addr = "198.51.100.7:1"
	if a := other.open(app+"/", "ana"); a.body != "app for ana" {
		t.Errorf("others: %s", a.reason())
	}
	// An office behind one address: whoever arrives gives back, on any node.
	office := ssotest.NewSharesFake(nil)
	for range 3 {
		w := newWorld(t, func(o *sso.Options) { o.Budget, o.Shares = 10, office })
		for i := range 12 {
			w.signedIn(fmt.Sprint("p", i))
		}
	}
}

// TestRowD01WithoutSharedCountsEachNodeCountsAlone: a store that is down neither
// opens the door to a flood nor closes it to everybody.
func TestRowD01WithoutSharedCountsEachNodeCountsAlone(t *testing.T) {
	shares := ssotest.NewSharesFake(nil)
	w := newWorld(t, func(o *sso.Options) { o.Budget, o.Shares = 20, shares })
	shares.Fail(errDown)
	if n := w.browser().refusals(30); n != 20 {
		t.Errorf("%d of 30 refused, want 20: the node's own count holds", n)
	}
	shares.Fail(nil)
	if n := w.browser().refusals(5); n != 5 {
		t.Errorf("%d of 5 refused when it is back, want 5: the node's own count still holds", n)
	}
}
