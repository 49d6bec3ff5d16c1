package sessiontest

import (
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
)

// The cases of [Primary] about nodes that go (C8) and tidying (C2).

func leave(e *primaryEnv) {
	e.join("a", 0)
	e.join("b", 0)
	for range 2 {
		if err := e.Primary.Leave(e.ctx, "a"); err != nil {
			e.Errorf("leave: %v", err)
		}
	}
	if err := e.Primary.Leave(e.ctx, "never"); err != nil {
		e.Errorf("leave of an unknown node: %v", err)
	}
	if _, err := e.Other.Lease(e.ctx, "a", 0, 10); !errors.Is(err, session.ErrNotRegistered) {
		e.Errorf("lease after leaving: %v", err)
	}
	if all := e.nodes(e.Other); len(all) != 1 || all["b"].ID != "b" {
		e.Errorf("listed: %+v", all)
	}
	e.lease(e.Other, "b", 0, 10)
}

func expel(e *primaryEnv) {
	const silent = 3 * time.Hour // so that a slow machine counts for nothing
	e.join("dead", 0)
	e.join("live", 0)
	e.expel(silent, 0) // a registry may have to see a node first before it can call it silent
	for range 2 {
		e.Advance(2 * time.Hour)
		if all := e.nodes(e.Primary); len(all) != 2 {
			e.Fatalf("somebody was expelled early: %+v", all)
		}
		e.lease(e.Other, "live", 0, 10)
		if _, err := e.Primary.Expel(e.ctx, silent); err != nil {
			e.Fatal(err)
		}
	}
	if all := e.nodes(e.Other); len(all) != 1 || all["live"].ID != "live" {
		e.Errorf("listed: %+v, want the live one", all)
	}
	if _, err := e.Primary.Lease(e.ctx, "dead", 0, 10); !errors.Is(err, session.ErrNotRegistered) {
		e.Errorf("lease of the expelled: %v", err)
	}
	e.lease(e.Primary, "live", 0, 10)
	e.join("dead again", 0)
	e.lease(e.Primary, "dead again", 0, 10)
}

func expelRace(e *primaryEnv) {
	const rounds, silent = 60, time.Hour
	for round := range rounds {
		id := fmt.Sprint("n", round)
		e.join(id, 0)
		e.expel(silent, 0)
		e.Advance(2 * silent)
		var err error
		var n int
		race(3, func(i int) {
			switch i {
			case 0:
				_, err = e.Other.Lease(e.ctx, id, 0, 10)
			case 1:
				var xerr error
				if n, xerr = e.Primary.Expel(e.ctx, silent); xerr != nil {
					e.Errorf("expel: %v", xerr)
				}
			default:
				_, _ = e.Primary.Nodes(e.ctx)
			}
		})
		_, listed := e.nodes(e.Primary)[id]
		switch {
		case err == nil && listed && n == 0:
		case errors.Is(err, session.ErrNotRegistered) && !listed && n == 1:
		default:
			e.Fatalf("round %d: lease: %v; listed: %v; expelled: %d", round, err, listed, n)
		}
		if err := e.Primary.Leave(e.ctx, id); err != nil {
			e.Fatal(err)
		}
	}
}

func unfinished(e *primaryEnv) {
	e.revoke(3)
	for _, k := range []member.RevocationKind{member.Recheck, member.Reload} {
		if _, err := e.Revoke(member.Revocation{Kind: k, Scope: member.ScopeAll, Target: member.ReloadKeys}); err != nil {
			e.Fatal(err)
		}
	}
	e.revoke(2)
	want := func(limit int, want ...int64) {
		e.Helper()
		rows, err := e.Other.Unfinished(e.ctx, limit)
		if err != nil {
			e.Fatal(err)
		}
		e.wantSeqs("unfinished", rows, want...)
	}
	want(10, 1, 2, 3, 6, 7)
	want(2, 1, 2)
	if err := e.Primary.Finish(e.ctx, 2, 6); err != nil {
		e.Fatal(err)
	}
	want(10, 1, 3, 7)
	if err := e.Primary.Finish(e.ctx, 1, 2, 3, 4, 999); err != nil {
		e.Errorf("finished and unknown rows: %v", err)
	}
	want(10, 7)
	if err := e.Primary.Finish(e.ctx); err != nil {
		e.Errorf("nothing to finish: %v", err)
	}
}

func finishRace(e *primaryEnv) {
	const n = 30
	e.revoke(n)
	race(6, func(i int) {
		p := e.Primary
		if i%2 == 1 {
			p = e.Other
		}
		for {
			rows, err := p.Unfinished(e.ctx, 7)
			if err != nil {
				e.Errorf("unfinished: %v", err)
				return
			}
			if len(rows) == 0 {
				return
			}
			todo := seqs(rows)
			if i%3 == 0 {
				slices.Reverse(todo) // in whatever order
			}
			if err := p.Finish(e.ctx, todo...); err != nil {
				e.Errorf("finish: %v", err)
				return
			}
		}
	})
	e.join("a", 0)
	if b := e.lease(e.Primary, "a", 0, 2*n); len(b.Rows) != n {
		e.Errorf("%d rows left in the log, want %d: finishing removes none", len(b.Rows), n)
	}
}
