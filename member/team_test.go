package member_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ssogate/ssogate/member"
)

func (f *fixture) in(team member.ID) (ids []member.ID) {
	f.t.Helper()
	ms, err := f.TeamMembers(ctx, okta, team)
	if err != nil {
		f.t.Fatal(err)
	}
	for _, m := range ms {
		ids = append(ids, m.ID)
	}
	return ids
}

func steps(s ...member.MembershipStep) member.TeamChange { return member.TeamChange{Steps: s} }

func TestSlugsAreUniqueAndImmutable(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		for _, c := range []struct {
			conn       member.Connection
			name, slug string
		}{
			{okta, "Finance", "finance"},
			{okta, "Finance & Legal (EU)", "finance-legal-eu"},
			{okta, "Équipe Zürich", "equipe-zurich"},
			{okta, "山田", "team"},
			{okta, "日本", "okta.team"},
			{entra, "FINANCE", "entra.finance"},
			{entra, "finance!", "entra.finance-2"},
			{entra, "-finance-", "entra.finance-3"},
			{okta, strings.Repeat("a", 200), strings.Repeat("a", 48)},
			{okta, "../admin", "admin"},
		} {
			g, err := f.CreateTeam(ctx, idp, c.conn, member.Team{DisplayName: c.name, Slug: "chosen", ID: "chosen"}, nil)
			if err != nil || g.Slug != c.slug || g.ID == "chosen" {
				t.Errorf("%q became %q, %v, want %q", c.name, g.Slug, err, c.slug)
			}
		}
		g, err := f.CreateTeam(ctx, idp, okta, member.Team{DisplayName: "Old"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		name := "New"
		f.clock.Advance(time.Second)
		renamed, err := f.UpdateTeam(ctx, idp, okta, g.ID, 0, member.TeamChange{DisplayName: &name})
		if err != nil || renamed.Slug != "old" || renamed.DisplayName != "New" || renamed.Version != 2 || !renamed.Modified.After(g.Modified) {
			t.Errorf("renamed to %+v, %v: routes name the slug", renamed, err)
		}
		same, err := f.UpdateTeam(ctx, idp, okta, g.ID, 0, member.TeamChange{DisplayName: &name})
		if err != nil || same.Version != 2 {
			t.Errorf("renamed to its own name: %+v, %v", same, err)
		}
		taken := "FINANCE"
		if _, err := f.UpdateTeam(ctx, idp, okta, g.ID, 0, member.TeamChange{DisplayName: &taken}); !errors.Is(err, member.ErrConflict) {
			t.Errorf("renamed to a taken name: %v", err)
		}
		if _, err := f.CreateTeam(ctx, idp, okta, member.Team{DisplayName: " finance "}, nil); !errors.Is(err, member.ErrConflict) {
			t.Errorf("a second team of that name: %v", err)
		}
		for _, bad := range []string{"", "  ", "\u202e", strings.Repeat("é", 257)} {
			var invalid *member.InvalidError
			if _, err := f.CreateTeam(ctx, idp, okta, member.Team{DisplayName: bad}, nil); !errors.As(err, &invalid) {
				t.Errorf("name %q: %v", bad, err)
			}
		}
	})
}

func TestMembershipStepsApplyInOrderAndAllOrNothing_C08(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		var ids []member.ID
		for i := range 4 {
			ids = append(ids, f.create(okta, fmt.Sprintf("p%d", i)).ID)
		}
		slices.Sort(ids)
		a, b, c, d := ids[0], ids[1], ids[2], ids[3]
		foreign := f.create(entra, "foreign").ID
		g, err := f.CreateTeam(ctx, idp, okta, member.Team{DisplayName: "T"}, []member.ID{a, b, a})
		if err != nil || !slices.Equal(f.in(g.ID), []member.ID{a, b}) {
			t.Fatalf("created with %v, %v", f.in(g.ID), err)
		}
		f.revoker.Take()
		before := f.last()
		g2, err := f.UpdateTeam(ctx, idp, okta, g.ID, g.Version, steps(
			member.MembershipStep{Op: member.ReplaceMembers, IDs: []member.ID{b, c}},
			member.MembershipStep{Op: member.RemoveMembers, IDs: []member.ID{b, "not in it"}},
			member.MembershipStep{Op: member.AddMembers, IDs: []member.ID{d, d}},
		))
		if err != nil || !slices.Equal(f.in(g.ID), []member.ID{c, d}) || g2.Version != 2 {
			t.Fatalf("in order: %v, version %d, %v", f.in(g.ID), g2.Version, err)
		}
		rows := f.rows(before)
		if len(rows) != 1 || rows[0].Kind != member.Recheck || rows[0].Scope != member.ScopeMembers {
			t.Errorf("rows %+v: want one for the whole change set", rows)
		}
		f.waited("a team change", rows[0].Seq)
		for name, ch := range map[string]member.TeamChange{
			"unknown id": steps(
				member.MembershipStep{Op: member.RemoveMembers, IDs: []member.ID{c}},
				member.MembershipStep{Op: member.AddMembers, IDs: []member.ID{a, "nobody"}}),
			"another connection's member": steps(
				member.MembershipStep{Op: member.ReplaceMembers},
				member.MembershipStep{Op: member.ReplaceMembers, IDs: []member.ID{foreign}}),
		} {
			var unknown *member.UnknownMembersError
			if _, err := f.UpdateTeam(ctx, idp, okta, g.ID, 0, ch); !errors.As(err, &unknown) || len(unknown.IDs) != 1 {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := f.UpdateTeam(ctx, idp, okta, g.ID, 0, steps(
			member.MembershipStep{Op: member.ReplaceMembers}, member.MembershipStep{Op: "Add"})); err == nil {
			t.Error("an unknown operation was applied")
		}
		if now := f.in(g.ID); !slices.Equal(now, []member.ID{c, d}) {
			t.Errorf("a refused change left %v", now)
		}
		again, err := f.UpdateTeam(ctx, idp, okta, g.ID, 0, steps(
			member.MembershipStep{Op: member.AddMembers, IDs: []member.ID{c}}, member.MembershipStep{Op: member.RemoveMembers, IDs: []member.ID{a}}))
		if err != nil || again.Version != 2 {
			t.Errorf("a repeat changed version to %d, %v", again.Version, err)
		}
		if _, err := f.UpdateTeam(ctx, idp, okta, g.ID, 1, steps()); !errors.Is(err, member.ErrVersion) {
			t.Errorf("old version: %v", err)
		}
		empty, err := f.UpdateTeam(ctx, idp, okta, g.ID, 2, steps(member.MembershipStep{Op: member.ReplaceMembers}))
		if err != nil || len(f.in(g.ID)) != 0 || empty.Version != 3 {
			t.Errorf("emptied: %v, %v", f.in(g.ID), err)
		}
	})
}

func TestTeamsAreScopedAndDeletedWithTheirMemberships(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		m := f.active(okta, "ana@corp.example")
		g, err := f.CreateTeam(ctx, idp, okta, member.Team{DisplayName: "Finance"}, []member.ID{m.ID})
		if err != nil {
			t.Fatal(err)
		}
		s, err := f.Snapshot(ctx, m.ID, member.SessionRef{Hash: "h"})
		if err != nil || !slices.Equal(s.Teams, []string{"finance"}) || s.Seq != f.last() || s.Member.ID != m.ID || s.SessionEnded {
			t.Fatalf("snapshot %+v, %v", s, err)
		}
		for _, c := range []member.Connection{entra, {}} {
			_, get := f.GetTeam(ctx, c, g.ID)
			_, members := f.TeamMembers(ctx, c, g.ID)
			_, update := f.UpdateTeam(ctx, idp, c, g.ID, 0, steps())
			for _, err := range []error{get, members, update, f.DeleteTeam(ctx, idp, c, g.ID, 0)} {
				if !errors.Is(err, member.ErrOutOfScope) {
					t.Errorf("connection %q: %v", c.ID, err)
				}
			}
		}
		f.revoker.Take()
		if err := f.DeleteTeam(ctx, idp, okta, g.ID, 9); !errors.Is(err, member.ErrVersion) {
			t.Errorf("old version: %v", err)
		}
		if err := f.DeleteTeam(ctx, idp, okta, g.ID, 0); err != nil {
			t.Fatal(err)
		}
		f.waited("losing a team by its deletion", f.last())
		if err := f.DeleteTeam(ctx, idp, okta, g.ID, 0); !errors.Is(err, member.ErrNotFound) {
			t.Errorf("deleted twice: %v", err)
		}
		if s, err = f.Snapshot(ctx, m.ID, member.SessionRef{Hash: "h"}); err != nil || len(s.Teams) != 0 {
			t.Errorf("after deletion: %v, %v", s.Teams, err)
		}
	})
}

func TestInactiveMembersKeepTheirTeams(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		m := f.active(okta, "ana@corp.example")
		g, err := f.CreateTeam(ctx, idp, okta, member.Team{DisplayName: "Finance"}, []member.ID{m.ID})
		if err != nil {
			t.Fatal(err)
		}
		for _, to := range []bool{false, true} {
			if _, err := f.Update(ctx, idp, okta, m.ID, 0, wish(to)); err != nil {
				t.Fatal(err)
			}
			if _, teams, err := f.Get(ctx, okta, m.ID); err != nil || len(teams) != 1 || teams[0].ID != g.ID {
				t.Errorf("active %v: teams %v, %v: IdPs do not send them again", to, teams, err)
			}
		}
	})
}

func TestGuaranteeConcurrentWritersLoseNobody(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		const n = 30
		g, err := f.CreateTeam(ctx, idp, okta, member.Team{DisplayName: "T"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var ids []member.ID
		for i := range n {
			ids = append(ids, f.create(okta, fmt.Sprintf("p%d", i)).ID)
		}
		var wg sync.WaitGroup
		for _, id := range ids {
			wg.Go(func() {
				if _, err := f.UpdateTeam(ctx, idp, okta, g.ID, 0, steps(member.MembershipStep{Op: member.AddMembers, IDs: []member.ID{id}})); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		got, err := f.GetTeam(ctx, okta, g.ID)
		if len(f.in(g.ID)) != n || got.Version != n+1 || err != nil {
			t.Errorf("%d of %d members, version %d, %v", len(f.in(g.ID)), n, got.Version, err)
		}
	})
}
