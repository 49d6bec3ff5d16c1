package ssotest

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/sso/refresh"
)

// Grants is the conformance suite of refresh.Store. open answers an empty store
// as two nodes see it; both may be the same value. It is called once per case.
func Grants(t *testing.T, open func(t *testing.T) (one, two refresh.Store)) {
	t.Helper()
	cases := []struct {
		name string
		why  string // printed when the case fails
		run  func(*grantsEnv)
	}{
		{"RoundTrip", "what was put comes back, every byte and time of it", grantsRoundTrip},
		{"RefusesInvalid/G8", "a grant that could not be used, or is too large, is refused", grantsInvalid},
		{"OneGrantPerSession", "a second grant would leave the first one's token lying there", grantsTwice},
		{"DueOnly", "nobody is asked about before it is time, after the session's end, or at another provider", grantsDue},
		{"LongestWaitFirst", "a backlog is worked off in order, at most as many as were asked for", grantsOrder},
		{"LeaseHolds", "while one node asks no other does; when it dies another takes over", grantsLease},
		{"LostClaimChangesNothing", "the answer of a node that was away too long is not noted over a newer one", grantsLost},
		{"TokenIsReplacedUnderTheClaim", "a rotated token is stored before anything else is decided", grantsToken},
		{"Settle", "a settled grant is free, and due when it was said", grantsSettle},
		{"Delete", "a deleted grant is gone", grantsDelete},
		{"TwoNodesNeverClaimOneGrant", "a token that is used twice is taken for stolen, and the session ends", grantsRace},
		{"Cancelled/G2", "a call that was given up is an error, never 'nothing is due'", grantsCancelled},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("why this matters: %s", c.why)
				}
			})
			e := &grantsEnv{T: t, ctx: t.Context(), now: time.UnixMilli(1_800_000_000_000).UTC()}
			e.one, e.two = open(t)
			c.run(e)
		})
	}
}

type grantsEnv struct {
	*testing.T
	one, two refresh.Store
	ctx      context.Context
	now      time.Time
}

// grant is one that is due now.
func (e *grantsEnv) grant(name string) refresh.Grant {
	return refresh.Grant{
		Session: secret.Sum(name), Member: member.ID("m-" + name), Epoch: 3, Seq: 7,
		Identity: member.Identity{Provider: "okta", Issuer: "https://id.example.com", Subject: "s-" + name},
		Token:    []byte("sealed " + name + "\x00\xff"), Due: e.now, Expires: e.now.Add(8 * time.Hour),
	}
}

func (e *grantsEnv) put(names ...string) {
	e.Helper()
	for _, name := range names {
		if err := e.one.Put(e.ctx, e.grant(name)); err != nil {
			e.Fatalf("put %s: %v", name, err)
		}
	}
}

const grantsLeaseFor = 30 * time.Second

func (e *grantsEnv) claim(s refresh.Store, id string, limit int) []refresh.Grant {
	e.Helper()
	out, err := s.Claim(e.ctx, refresh.Claim{ID: id, Provider: "okta", Now: e.now, Until: e.now.Add(grantsLeaseFor), Limit: limit})
	if err != nil {
		e.Fatalf("claim: %v", err)
	}
	return out
}

// wantClaim claims everything and wants these, in this order.
func (e *grantsEnv) wantClaim(s refresh.Store, id string, want ...refresh.Grant) {
	e.Helper()
	got := e.claim(s, id, 100)
	same := func(a, b refresh.Grant) bool {
		return a.Session == b.Session && a.Member == b.Member && a.Epoch == b.Epoch && a.Seq == b.Seq && a.Identity == b.Identity &&
			slices.Equal(a.Token, b.Token) && a.Due.Equal(b.Due) && a.Expires.Equal(b.Expires) && a.Failures == b.Failures
	}
	if !slices.EqualFunc(got, want, same) {
		e.Errorf("claimed %+v\nwant %+v", got, want)
	}
}

func (e *grantsEnv) lost(what string, err error) {
	e.Helper()
	if !errors.Is(err, refresh.ErrLost) {
		e.Errorf("%s: %v; want ErrLost", what, err)
	}
}

func (e *grantsEnv) ok(what string, err error) {
	e.Helper()
	if err != nil {
		e.Fatalf("%s: %v", what, err)
	}
}

func grantsRoundTrip(e *grantsEnv) {
	g := e.grant("a")
	g.Failures = 4
	g.Identity.Subject = `ünï"'%_` + "\t"
	e.ok("put", e.one.Put(e.ctx, g))
	e.wantClaim(e.two, "c", g)
}

func grantsInvalid(e *grantsEnv) {
	for name, change := range map[string]func(*refresh.Grant){
		"no session":  func(g *refresh.Grant) { g.Session = secret.Hash{} },
		"no member":   func(g *refresh.Grant) { g.Member = "" },
		"no provider": func(g *refresh.Grant) { g.Identity.Provider = "" },
		"no issuer":   func(g *refresh.Grant) { g.Identity.Issuer = "" },
		"no subject":  func(g *refresh.Grant) { g.Identity.Subject = "" },
		"no token":    func(g *refresh.Grant) { g.Token = nil },
		"large token": func(g *refresh.Grant) { g.Token = make([]byte, 64<<10) },
		"no due":      func(g *refresh.Grant) { g.Due = time.Time{} },
		"no end":      func(g *refresh.Grant) { g.Expires = time.Time{} },
	} {
		g := e.grant("a")
		change(&g)
		if e.one.Put(e.ctx, g) == nil {
			e.Errorf("%s: accepted", name)
		}
	}
	e.wantClaim(e.one, "c")
}

func grantsTwice(e *grantsEnv) {
	e.put("a")
	g := e.grant("a")
	g.Token = []byte("another")
	if e.two.Put(e.ctx, g) == nil {
		e.Error("a second grant of one session was accepted")
	}
	e.wantClaim(e.one, "c", e.grant("a"))
}

func grantsDue(e *grantsEnv) {
	e.put("now")
	for _, g := range []struct {
		name   string
		change func(*refresh.Grant)
	}{
		{"later", func(g *refresh.Grant) { g.Due = e.now.Add(time.Millisecond) }},
		{"over", func(g *refresh.Grant) { g.Expires = e.now }},
		{"elsewhere", func(g *refresh.Grant) { g.Identity.Provider = "keycloak" }},
	} {
		r := e.grant(g.name)
		g.change(&r)
		e.ok(g.name, e.one.Put(e.ctx, r))
	}
	e.wantClaim(e.one, "c", e.grant("now"))
}

func grantsOrder(e *grantsEnv) {
	want := []string{"third", "first", "second"}
	for i, name := range []string{"first", "second", "third"} {
		g := e.grant(name)
		g.Due = e.now.Add(-time.Duration([]int{2, 1, 3}[i]) * time.Minute)
		e.ok(name, e.one.Put(e.ctx, g))
	}
	var got []string
	for i := range 4 {
		for _, g := range e.claim(e.one, fmt.Sprint("c", i), 1) {
			got = append(got, string(g.Member[2:]))
		}
	}
	if !slices.Equal(got, want) {
		e.Errorf("claimed one by one: %q, want %q", got, want)
	}
}

func grantsLease(e *grantsEnv) {
	e.put("a")
	e.wantClaim(e.one, "c1", e.grant("a"))
	e.wantClaim(e.one, "c2")
	e.wantClaim(e.two, "c2")
	e.now = e.now.Add(20 * time.Second)
	e.ok("renew", e.one.Hold(e.ctx, secret.Sum("a"), "c1", e.now.Add(grantsLeaseFor), nil))
	e.now = e.now.Add(20 * time.Second)
	e.wantClaim(e.two, "c2") // renewed
	e.now = e.now.Add(11 * time.Second)
	g := e.grant("a")
	g.Due = e.now.Add(-51 * time.Second)
	g.Expires = g.Due.Add(8 * time.Hour)
	e.wantClaim(e.two, "c2", g) // the first node is dead
}

func grantsLost(e *grantsEnv) {
	e.put("a")
	h := secret.Sum("a")
	e.claim(e.one, "c1", 1)
	e.now = e.now.Add(grantsLeaseFor)
	if len(e.claim(e.two, "c2", 1)) != 1 {
		e.Fatal("a lease that ran out was not taken over")
	}
	for _, claim := range []string{"c1", "", "c3"} {
		e.lost("hold", e.one.Hold(e.ctx, h, claim, e.now.Add(time.Hour), []byte("stale")))
		e.lost("settle", e.one.Settle(e.ctx, h, claim, e.now.Add(time.Hour), 0))
		e.lost("delete", e.one.Delete(e.ctx, h, claim))
	}
	e.ok("the holder", e.two.Settle(e.ctx, h, "c2", e.now, 0))
	for _, claim := range []string{"c1", "c2", ""} { // settled: nobody holds it
		e.lost("hold after the end", e.one.Hold(e.ctx, h, claim, e.now.Add(time.Hour), []byte("stale")))
	}
	if got := e.claim(e.one, "c4", 1); len(got) != 1 || string(got[0].Token) != string(e.grant("a").Token) {
		e.Errorf("the token was changed by a claim that was lost: %+v", got)
	}
	e.lost("unknown session", e.one.Settle(e.ctx, secret.Sum("nobody"), "c4", e.now, 0))
}

func grantsToken(e *grantsEnv) {
	e.put("a", "b")
	e.claim(e.one, "c1", 2)
	for range 2 { // repeated after an answer that was lost
		e.ok("hold", e.one.Hold(e.ctx, secret.Sum("a"), "c1", e.now.Add(grantsLeaseFor), []byte("rotated")))
	}
	e.now = e.now.Add(grantsLeaseFor) // and the node dies
	got := map[string]string{}
	for _, g := range e.claim(e.two, "c2", 2) {
		got[string(g.Member)] = string(g.Token)
	}
	if got["m-a"] != "rotated" || got["m-b"] != "sealed b\x00\xff" {
		e.Errorf("tokens after the crash: %q", got)
	}
}

func grantsSettle(e *grantsEnv) {
	e.put("a")
	e.claim(e.one, "c1", 1)
	due := e.now.Add(5 * time.Minute)
	e.ok("settle", e.one.Settle(e.ctx, secret.Sum("a"), "c1", due, 2))
	e.now = due.Add(-time.Millisecond)
	e.wantClaim(e.two, "c2")
	e.now = due
	want := e.grant("a")
	want.Failures, want.Expires = 2, due.Add(8*time.Hour-5*time.Minute)
	e.wantClaim(e.two, "c2", want)
}

func grantsDelete(e *grantsEnv) {
	e.put("a", "b")
	e.claim(e.one, "c1", 1)
	e.claim(e.one, "c2", 1)
	a, b := secret.Sum("a"), secret.Sum("b")
	first := e.one.Delete(e.ctx, a, "c1")
	if errors.Is(first, refresh.ErrLost) { // which of the two came first is the hash's doing
		a, b = b, a
		first = e.one.Delete(e.ctx, a, "c1")
	}
	e.ok("delete", first)
	e.lost("again", e.one.Delete(e.ctx, a, "c1"))
	e.ok("the other is still there", e.one.Settle(e.ctx, b, "c2", e.now, 0))
}

func grantsRace(e *grantsEnv) {
	const n = 60
	for i := range n {
		e.put(fmt.Sprint("g", i))
	}
	var mu sync.Mutex
	seen := map[secret.Hash]int{}
	pendingRace(8, func(i int) {
		s := []refresh.Store{e.one, e.two}[i%2]
		for round := range n {
			out, err := s.Claim(e.ctx, refresh.Claim{
				ID: fmt.Sprint(i, "-", round), Provider: "okta", Now: e.now, Until: e.now.Add(grantsLeaseFor), Limit: 4,
			})
			if err != nil {
				e.Errorf("claim: %v", err)
				return
			}
			mu.Lock()
			for _, g := range out {
				seen[g.Session]++
			}
			all := len(seen) == n
			mu.Unlock()
			if all {
				return
			}
		}
	})
	if len(seen) != n {
		e.Errorf("%d of %d grants were claimed", len(seen), n)
	}
	for h, times := range seen {
		if times != 1 {
			e.Errorf("grant %s was claimed %d times", h.Short(), times)
		}
	}
}

func grantsCancelled(e *grantsEnv) {
	e.put("a", "b")
	e.claim(e.one, "c1", 1)
	ctx, cancel := context.WithCancel(e.ctx)
	cancel()
	g := e.grant("c")
	_, claimed := e.one.Claim(ctx, refresh.Claim{ID: "c2", Provider: "okta", Now: e.now, Until: e.now.Add(time.Minute), Limit: 1})
	for what, err := range map[string]error{
		"put": e.one.Put(ctx, g), "claim": claimed,
		"hold":   e.one.Hold(ctx, secret.Sum("a"), "c1", e.now.Add(time.Minute), nil),
		"settle": e.one.Settle(ctx, secret.Sum("a"), "c1", e.now, 0), "delete": e.one.Delete(ctx, secret.Sum("a"), "c1"),
	} {
		if err == nil || errors.Is(err, refresh.ErrLost) {
			e.Errorf("%s: %v; want another error", what, err)
		}
	}
}
