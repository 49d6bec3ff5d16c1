package member_test

import (
	"errors"
	"testing"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/member"
)

func TestIdentitiesAreLinkedByHand(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		m, other := f.joined("adfs", "ana"), f.joined("adfs", "ben")
		hub := member.Identity{Provider: "github", Issuer: "https://github.com", Subject: "583231"}
		l := member.Login{Identity: hub, Profile: member.Profile{UserName: "octo"}, Join: member.JoinInvitation, Actor: idp}
		f.refused(l, member.RefusedNotMember, "before")
		if err := f.Link(ctx, idp, m.ID, hub); err != nil {
			t.Fatal(err)
		}
		f.audited("member.linked", audit.Allowed)
		if got, err := f.Admit(ctx, l); err != nil || got.ID != m.ID {
			t.Fatalf("after it: %v %v", got.ID, err)
		}
		again := hub
		again.Subject = "7"
		for why, c := range map[string]struct {
			id   member.ID
			i    member.Identity
			want error
		}{
			"the same once more":            {m.ID, hub, nil},
			"somebody else's":               {other.ID, hub, member.ErrConflict},
			"a second one at that provider": {m.ID, again, member.ErrLinked},
			"nobody":                        {"none", again, member.ErrNotFound},
		} {
			if err := f.Link(ctx, idp, c.id, c.i); !errors.Is(err, c.want) {
				t.Errorf("%s: %v, want %v", why, err, c.want)
			}
		}
		var invalid *member.InvalidError
		if err := f.Link(ctx, idp, m.ID, member.Identity{Provider: "p", Issuer: "i"}); !errors.As(err, &invalid) {
			t.Errorf("without a subject: %v", err)
		}
	})
}

func TestUnlinkingEndsTheSessionsThroughThatProvider(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		m := f.joined("adfs", "ana")
		before := f.last()
		f.revoker.Take()
		if err := f.Unlink(ctx, idp, m.ID, "adfs"); err != nil {
			t.Fatal(err)
		}
		rows := f.rows(before)
		if len(rows) != 1 || rows[0].Kind != member.End || rows[0].Scope != member.ScopeLogins {
			t.Fatalf("rows %+v", rows)
		}
		f.waited("sessions end before it returns", rows[0].Seq)
		f.audited("member.unlinked", audit.Allowed)
		// C2: a repeated call waits for the same row.
		if err := f.Unlink(ctx, idp, m.ID, "adfs"); err != nil {
			t.Fatal(err)
		}
		f.waited("repeated", rows[0].Seq)
		l := member.Login{Identity: member.Identity{Provider: "adfs", Issuer: "https://idp.adfs", Subject: "ana"}, Join: member.JoinInvitation, Actor: idp}
		f.refused(l, member.RefusedNotMember, "no longer his")
		if is, err := f.Identities(ctx, m.ID); err != nil || len(is) != 0 {
			t.Errorf("%v %v", is, err)
		}
	})
}

func TestRemovedPeopleAreReadmittedByAnOwner(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		m := f.active(okta, "ana@corp.example")
		if err := f.Delete(ctx, idp, okta, m.ID, 0); err != nil {
			t.Fatal(err)
		}
		l := login(okta, "ana@corp.example")
		l.Connection, l.Join = nil, member.JoinIDP // SCIM was switched off since
		f.refused(l, member.RefusedRemoved, "the mark stays")
		if n, err := f.Readmit(ctx, idp, member.Identity{Provider: "entra", Subject: "ana@corp.example"}); err != nil || n != 0 {
			t.Errorf("another provider's marks: %d %v", n, err)
		}
		n, err := f.Readmit(ctx, idp, member.Identity{Provider: "okta", Subject: "ANA@corp.example"})
		if err != nil || n == 0 {
			t.Fatalf("%d %v", n, err)
		}
		f.audited("member.readmitted", audit.Allowed)
		if _, err := f.Admit(ctx, l); err != nil {
			t.Errorf("after it: %v", err)
		}
	})
}
