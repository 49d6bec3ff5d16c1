package member_test

import (
	"errors"
	"slices"
	"testing"

	"github.com/ssogate/ssogate/member"
)

func TestForeseeSaysWhatAdmitWouldAndLeavesNothingS30(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		provisioned := f.create(okta, "ana@corp.example")
		click := login(okta, "ana@corp.example")
		click.Accept = true
		joiner := member.Login{Identity: member.Identity{Provider: "saml", Issuer: "i", Subject: "ben"}, Profile: member.Profile{UserName: "ben"}, Join: member.JoinIDP}
		before, _ := f.events()
		rows := f.last()
		for range 2 { // foreseeing a link does not make the next one a second subject
			for name, l := range map[string]member.Login{"a link and an acceptance": click, "a new member": joiner} {
				if m, err := f.Foresee(ctx, l); err != nil || !m.Admitted() {
					t.Errorf("%s: %+v, %v", name, m, err)
				}
			}
			var r *member.Refusal
			if _, err := f.Foresee(ctx, login(okta, "ana@corp.example")); !errors.As(err, &r) || r.Code != member.RefusedInvitationPending {
				t.Errorf("not accepted yet: %v", err)
			}
			if _, err := f.Foresee(ctx, member.Login{}); !errors.As(err, &r) {
				t.Errorf("the zero login: %v", err)
			}
		}
		if after, _ := f.events(); !slices.Equal(before, after) || f.last() != rows {
			t.Errorf("audited %q, then %q; rows %d, then %d", before, after, rows, f.last())
		}
		if m := f.get(provisioned.ID); m.Accepted || m.Version != provisioned.Version {
			t.Errorf("accepted by foreseeing: %+v", m)
		}
		if _, err := f.Lookup(ctx, "ben"); !errors.Is(err, member.ErrNotFound) {
			t.Errorf("a member came of foreseeing: %v", err)
		}
		// The benign twin: Admit does all of it.
		for name, l := range map[string]member.Login{"link": click, "join": joiner} {
			if m, err := f.Admit(ctx, l); err != nil || !m.Admitted() {
				t.Errorf("%s: %v", name, err)
			}
		}
	})
}
