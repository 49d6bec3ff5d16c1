package sql

import (
	"context"
	"crypto/rand"
	"fmt"
	"testing"

	"github.com/ssogate/ssogate/internal/testserver"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/member/membertest"
)

// engines are the real ones every test of this package runs on.
var engines = map[string]func(t testing.TB) string{
	"SQLite": testserver.SQLite(func(url string) error {
		d, err := Open(context.Background(), url)
		if err != nil {
			return err
		}
		return d.Close() // writes everything into the one file
	}),
	"PostgreSQL": testserver.Postgres,
}

// open opens an empty database that is closed with the test.
func open(t testing.TB, url string) *DB {
	t.Helper()
	d, err := Open(context.Background(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}

// onEngines runs a test on an empty database of each engine.
func onEngines(t *testing.T, test func(t *testing.T, d *DB)) {
	for name, url := range engines {
		t.Run(name, func(t *testing.T) { test(t, open(t, url(t))) })
	}
}

func TestMemberStoreConformance(t *testing.T) {
	for name, url := range engines {
		t.Run(name, func(t *testing.T) {
			membertest.Store(t, func(t *testing.T) member.Store { return open(t, url(t)) })
		})
	}
}

// G7: an identity provider that sends a group in pages of a hundred is told success
// for each, and nothing that it names to be removed can keep a change from being written.
func TestATeamChangeMayNameAnyNumberOfMembers(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		dir := &member.Directory{Store: d, Revoker: &membertest.Revoker{}}
		c := member.Connection{ID: "scim-okta", Provider: "okta", Activation: member.ActivateImmediate}
		idp := member.Actor{Name: "scim:okta"}
		var ids []member.ID
		for i := range 120 {
			m, err := dir.Create(t.Context(), idp, c, member.Member{UserName: fmt.Sprintf("p%d", i), Wish: true})
			if err != nil {
				t.Fatal(err)
			}
			ids = append(ids, m.ID)
		}
		team, err := dir.CreateTeam(t.Context(), idp, c, member.Team{DisplayName: "T"}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var strangers []member.ID
		for range 90 {
			strangers = append(strangers, member.ID(rand.Text()+rand.Text()))
		}
		for name, steps := range map[string][]member.MembershipStep{
			"a page of a hundred":   {{Op: member.AddMembers, IDs: ids[:100]}},
			"more than a row names": {{Op: member.AddMembers, IDs: ids}},
			"ids that nobody has":   {{Op: member.RemoveMembers, IDs: append(strangers, ids[0])}},
		} {
			if _, err := dir.UpdateTeam(t.Context(), idp, c, team.ID, 0, member.TeamChange{Steps: steps}); err != nil {
				t.Errorf("%s: %v", name, err)
			}
			empty := member.TeamChange{Steps: []member.MembershipStep{{Op: member.ReplaceMembers, IDs: ids[:1]}}}
			if _, err := dir.UpdateTeam(t.Context(), idp, c, team.ID, 0, empty); err != nil {
				t.Errorf("%s, then emptied: %v", name, err)
			}
		}
	})
}
