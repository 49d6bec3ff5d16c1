package sql

import (
	"testing"
	"time"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/member/membertest"
	"github.com/ssogate/ssogate/sso/refresh"
	"github.com/ssogate/ssogate/sso/ssotest"
)

func TestGrantsConformance(t *testing.T) {
	for name, url := range engines {
		t.Run(name, func(t *testing.T) {
			u := url(t)
			d := open(t, u)
			other := d
			if name == "PostgreSQL" { // another node: a pool of its own
				other = openBeside(t, u)
			}
			ssotest.Grants(t, func(t *testing.T) (one, two refresh.Store) {
				if _, err := d.writes.ExecContext(t.Context(), "DELETE FROM grants"); err != nil {
					t.Fatal(err)
				}
				return d.Grants(), other.Grants()
			})
		})
	}
}

// openBeside is a second process on the same PostgreSQL database.
func openBeside(t *testing.T, url string) *DB {
	t.Helper()
	d, err := OpenShared(t.Context(), url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.Close() })
	return d
}

// Fault 9: a refresh token does not lie in the database when its session is over.
func TestSweepRemovesTheGrantsOfSessionsThatAreOver(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		ctx, now := t.Context(), time.UnixMilli(1_800_000_000_000)
		dir := &member.Directory{Store: d, Revoker: &membertest.Revoker{}}
		add := func(name string) {
			m := member.Member{
				ID: member.ID("m-" + name), UserName: name, Role: member.RoleMember, Source: member.SourceSCIM,
				Wish: true, Epoch: 1, Version: 1, Created: now, Modified: now,
			}
			if err := d.Update(ctx, func(tx member.Tx) error { return tx.InsertMember(m) }); err != nil {
				t.Fatal(err)
			}
		}
		put := func(session, name, provider string, expires time.Time) {
			t.Helper()
			if err := d.Grants().Put(ctx, refresh.Grant{
				Session: secret.Sum(session), Member: member.ID("m-" + name), Epoch: 1, Token: []byte("sealed"),
				Identity: member.Identity{Provider: provider, Issuer: "https://id.example.com", Subject: name},
				Due:      now, Expires: expires,
			}); err != nil {
				t.Fatal(err)
			}
		}
		later := now.Add(time.Hour)
		for _, name := range []string{"ana", "ben", "cleo"} {
			add(name)
		}
		put("live", "ana", "okta", later)
		put("signed out", "ana", "okta", later)
		put("expired", "ana", "okta", now)
		put("provider ended", "ana", "keycloak", later)
		put("deactivated", "ben", "okta", later)
		put("deleted member", "nobody", "okta", later)
		by := member.Actor{Name: "test"}
		if err := dir.EndSession(ctx, by, member.EndedSession{Hash: secret.Sum("signed out").String(), Member: "m-ana", Until: later, Reason: "logout"}); err != nil {
			t.Fatal(err)
		}
		if err := dir.EndSessions(ctx, by, "m-ben", "signed out everywhere"); err != nil {
			t.Fatal(err)
		}
		if err := dir.EndProvider(ctx, by, "keycloak", "disabled"); err != nil {
			t.Fatal(err)
		}
		if err := d.Grants().Sweep(ctx, now); err != nil {
			t.Fatal(err)
		}
		left := claimAll(t, d, now, "okta")
		if len(left) != 1 || left[0].Session != secret.Sum("live") || rowsOf(t, d, "grants") != 1 {
			t.Errorf("%d rows are left, of them due: %+v; want the live one", rowsOf(t, d, "grants"), left)
		}
		if err := dir.EndEveryone(ctx, by, "keys leaked"); err != nil {
			t.Fatal(err)
		}
		if err := d.Grants().Sweep(ctx, now); err != nil {
			t.Fatal(err)
		}
		if n := rowsOf(t, d, "grants"); n != 0 {
			t.Errorf("%d rows are left after everybody was signed out", n)
		}
	})
}

func claimAll(t *testing.T, d *DB, now time.Time, provider string) []refresh.Grant {
	t.Helper()
	out, err := d.Grants().Claim(t.Context(), refresh.Claim{ID: "all", Provider: provider, Now: now, Until: now.Add(time.Minute), Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	return out
}
