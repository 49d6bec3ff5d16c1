package member_test

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/member"
)

// inGroups is a sign-in through a provider whose groups are teams.
func inGroups(provider, user string, groups ...string) member.Login {
	return member.Login{
		Identity: member.Identity{Provider: provider, Issuer: "https://idp." + provider, Subject: user},
		Profile:  member.Profile{UserName: user, Email: user, DisplayName: "Ana"}, Join: member.JoinIDP, Actor: idp,
		Teams: true, Groups: groups,
	}
}

func (f *fixture) teamsAfter(l member.Login) []string {
	f.t.Helper()
	m, err := f.Admit(ctx, l)
	if err != nil {
		f.t.Fatalf("sign-in: %v", err)
	}
	s, err := f.Snapshot(ctx, m.ID, member.SessionRef{})
	if err != nil {
		f.t.Fatal(err)
	}
	return s.Teams
}

func (f *fixture) wantTeams(why string, l member.Login, want ...string) {
	f.t.Helper()
	if got := f.teamsAfter(l); !slices.Equal(got, want) {
		f.t.Errorf("%s: teams %q, want %q", why, got, want)
	}
}

func TestGroupsOfASignInAreTeams(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		l := inGroups("adfs", "ana", "Finance", "Sales", "finance")
		f.wantTeams("two groups, one named twice", l, "finance", "sales")
		f.revoker.Take()
		before := f.last()
		f.wantTeams("nothing new", l, "finance", "sales")
		if f.last() != before {
			t.Error("a sign-in that changes nothing wrote a row")
		}
		f.revoker.Take()
		l.Groups = []string{"Sales", "Ops"}
		f.wantTeams("one lost, one gained", l, "ops", "sales")
		rows := f.rows(before)
		if len(rows) != 1 || rows[0].Kind != member.Recheck || rows[0].Scope != member.ScopeMembers {
			t.Fatalf("rows %+v: a lost team closes streams of its routes", rows)
		}
		f.waited("the lost team", rows[0].Seq)
		f.audited("member.teams_changed", audit.Allowed)
		l.Groups = nil
		f.wantTeams("in no group any more", l)
	})
}

func TestGroupsThatAreNotKnownChangeNothing(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		l := inGroups("entra", "ana", "finance")
		f.wantTeams("benign", l, "finance")
		l.Groups, l.GroupsMissing = nil, "overage"
		f.wantTeams("the IdP sent a link instead of a list", l, "finance")
		l.GroupsMissing = ""
		for i := range member.MaxGroups + 1 {
			l.Groups = append(l.Groups, fmt.Sprint("g", i))
		}
		f.wantTeams("more than are taken", l, "finance")
		l.Groups = []string{"", " ", strings.Repeat("x", 2000), "sales"}
		f.wantTeams("names that no team can have grant nothing", l, "sales")
	})
}

// What groups do to others' teams: nothing.
func TestGroupsStayInTheirOwnTeams(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		owned, err := f.CreateTeam(ctx, idp, okta, member.Team{DisplayName: "finance"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		// The slug by which routes name okta's team is taken: this provider gets its own.
		f.wantTeams("a name that SCIM uses", inGroups("adfs", "ana", "finance"), "adfs.finance")
		f.wantTeams("another provider with the same name", inGroups("keycloak", "ben", "finance"), "keycloak.finance")
		if ms, err := f.TeamMembers(ctx, okta, owned.ID); err != nil || len(ms) != 0 {
			t.Errorf("okta's team has %v, %v: nobody gets into it by a group of that name", ms, err)
		}
		// A member whom SCIM provisions gets no teams from his sign-in.
		f.active(okta, "cleo@corp.example")
		l := login(okta, "cleo@corp.example")
		l.Teams, l.Groups = true, []string{"admins"}
		f.wantTeams("a provider with a connection", l)
		l = inGroups("adfs", "dan", "finance")
		l.Teams = false
		f.wantTeams("a provider whose groups are not teams", l)
	})
}

func TestRefusedPeopleGetNoTeams(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		l := inGroups("adfs", "ana", "finance")
		l.Join = member.JoinInvitation
		before := f.last()
		f.refused(l, member.RefusedNotMember, "not invited")
		if f.last() != before {
			t.Error("a refusal wrote a row")
		}
		m := f.joined("adfs", "ben")
		if _, err := f.Suspend(ctx, idp, m.ID, true); err != nil {
			t.Fatal(err)
		}
		f.refused(inGroups("adfs", "ben", "finance"), member.RefusedSuspended, "suspended")
		if s, err := f.Snapshot(ctx, m.ID, member.SessionRef{}); err != nil || len(s.Teams) != 0 {
			t.Errorf("teams %q, %v", s.Teams, err)
		}
	})
}

func TestSignInsAtOnceMakeATeamOnce(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		var wg sync.WaitGroup
		for i := range 12 {
			wg.Go(func() {
				if _, err := f.Admit(ctx, inGroups("adfs", fmt.Sprint("user", i%4), "finance", "sales")); err != nil {
					t.Errorf("%d: %v", i, err)
				}
			})
		}
		wg.Wait()
		f.wantTeams("afterwards", inGroups("adfs", "user0", "finance", "sales"), "finance", "sales")
	})
}

func TestLabelsFollowTheProviderOfWhoJoinedBySigningIn(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		m := f.joined("adfs", "ana@corp.example")
		victim := f.joined("adfs", "victim@corp.example")
		l := inGroups("adfs", "ana@corp.example")
		l.Profile.DisplayName, l.Profile.Email = "Ana Berg", "ana.berg@corp.example"
		if _, err := f.Admit(ctx, l); err != nil {
			t.Fatal(err)
		}
		if got := f.get(m.ID); got.DisplayName != "Ana Berg" || got.Email != "ana.berg@corp.example" || got.UserName != "ana@corp.example" {
			t.Errorf("%+v: labels follow, the user name stays", got)
		}
		// Row O12: changed to somebody else's address at the IdP.
		l.Profile.Email = "VICTIM@corp.example"
		got, err := f.Admit(ctx, l)
		if err != nil || got.ID != m.ID {
			t.Fatalf("%v %v", got.ID, err)
		}
		if got := f.get(m.ID); got.Email != "ana.berg@corp.example" || victim.ID == m.ID {
			t.Errorf("address %s: it is another member's", got.Email)
		}
		f.audited("member.email_refused", audit.Allowed)
		// A provisioned member's labels are the connection's.
		p := f.active(okta, "cleo@corp.example")
		l = login(okta, "cleo@corp.example")
		l.Profile.DisplayName = "Not Cleo"
		if _, err := f.Admit(ctx, l); err != nil {
			t.Fatal(err)
		}
		if got := f.get(p.ID); got.DisplayName == "Not Cleo" {
			t.Error("a sign-in changed what SCIM says")
		}
	})
}

// Somebody who signs in through two providers is in the teams of both: what one says
// takes nothing away that the other has given.
func TestGroupsOfOneProviderTakeNothingOfAnothers(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		m := f.joined("adfs", "ana")
		l := inGroups("keycloak", "k-7", "pilots")
		if err := f.Link(ctx, idp, m.ID, l.Identity); err != nil {
			t.Fatal(err)
		}
		f.wantTeams("by the first", inGroups("adfs", "ana", "finance"), "finance")
		f.wantTeams("by the second", l, "finance", "pilots")
		f.wantTeams("by the first, now in no group", inGroups("adfs", "ana"), "pilots")
	})
}
