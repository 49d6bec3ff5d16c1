package member_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/member"
)

// joined makes a member by a first sign-in through a provider without SCIM.
func (f *fixture) joined(provider, userName string) member.Member {
	f.t.Helper()
	m, err := f.Admit(ctx, member.Login{
		Identity: member.Identity{Provider: provider, Issuer: "https://idp." + provider, Subject: userName},
		Profile:  member.Profile{UserName: userName, Email: userName, DisplayName: "Ana"}, Join: member.JoinIDP, Actor: idp,
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return m
}

// TestWhoSignsInThroughTheProviderIsAdopted: SCIM is enabled for a provider through
// which people have signed in for a while.
func TestWhoSignsInThroughTheProviderIsAdopted(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		was := f.joined("okta", "ana@corp.example")
		d := draft("ANA@corp.example")
		d.DisplayName = "Ana Lee"
		m, err := f.Create(ctx, idp, okta, d)
		if err != nil || m.ID != was.ID || m.Connection != okta.ID || m.DisplayName != "Ana Lee" || m.ExternalID != d.ExternalID || !m.Admitted() || m.Source != member.SourceSSO {
			t.Fatalf("adopted as %+v, %v", m, err)
		}
		f.audited("member.adopted", audit.Allowed)
		if m.Epoch != was.Epoch {
			t.Error("his sessions ended")
		}
		if _, err := f.Create(ctx, idp, okta, d); !errors.Is(err, member.ErrConflict) {
			t.Errorf("the same again: %v", err)
		}
		if _, _, err := f.Get(ctx, okta, m.ID); err != nil {
			t.Errorf("the connection does not see him: %v", err)
		}
		// Not wanted: adopted and cut off in one step.
		ben := f.joined("okta", "ben@corp.example")
		d = draft("ben@corp.example")
		d.Wish = false
		f.revoker.Take()
		m, err = f.Create(ctx, idp, okta, d)
		if err != nil || m.ID != ben.ID || m.Admitted() || m.Epoch <= ben.Epoch || len(f.revoker.Take()) != 1 {
			t.Errorf("adopted as deactivated, without waiting for the cut-off perhaps: %+v, %v", m, err)
		}
	})
}

// TestC03NobodyElseIsAdopted: a taken name alone gives nobody an account.
func TestC03NobodyElseIsAdopted(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		f.joined("google", "other@corp.example") // through another provider
		f.create(entra, "theirs@corp.example")   // another connection's
		lone := f.joined("okta", "lone@corp.example")
		if err := f.store.Update(ctx, func(tx member.Tx) error {
			m := lone
			m.Fallback, m.Version = true, m.Version+1
			return tx.UpdateMember(m, lone.Version)
		}); err != nil {
			t.Fatal(err)
		}
		for _, name := range []string{"other@corp.example", "theirs@corp.example", "lone@corp.example", "ｏther@corp.example"} {
			if m, err := f.Create(ctx, idp, okta, draft(name)); !errors.Is(err, member.ErrConflict) {
				t.Errorf("%s: %+v, %v", name, m, err)
			}
		}
	})
}

func TestAdoptAndReleaseBySomebodysDecision(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		m := f.joined("google", "ana@corp.example")
		m, err := f.Adopt(ctx, idp, okta, m.ID)
		if err != nil || m.Connection != okta.ID {
			t.Fatalf("%+v, %v", m, err)
		}
		f.audited("member.adopted", audit.Allowed)
		if _, err := f.Adopt(ctx, idp, entra, m.ID); !errors.Is(err, member.ErrNotAdoptable) {
			t.Errorf("out of another connection: %v", err)
		}
		if _, err := f.Update(ctx, idp, okta, m.ID, 0, wish(false)); err != nil {
			t.Errorf("the connection changes him: %v", err)
		}
		if m, err = f.Release(ctx, idp, m.ID); err != nil || m.Connection != "" || m.Admitted() {
			t.Errorf("released: %+v, %v", m, err)
		}
		f.audited("member.released", audit.Allowed)
		if _, err := f.Update(ctx, idp, okta, m.ID, 0, wish(true)); !errors.Is(err, member.ErrOutOfScope) {
			t.Errorf("after the release: %v", err)
		}
		if _, err := f.Release(ctx, idp, m.ID); !errors.Is(err, member.ErrNotAdoptable) {
			t.Errorf("released twice: %v", err)
		}
		if _, err := f.Adopt(ctx, idp, okta, "nobody"); !errors.Is(err, member.ErrNotFound) {
			t.Errorf("nobody: %v", err)
		}
		if _, err := f.Adopt(ctx, idp, member.Connection{}, m.ID); !errors.Is(err, member.ErrNotAdoptable) {
			t.Errorf("into no connection: %v", err)
		}
		// C04: not even an operator by mistake puts the last way in into an IdP's hands.
		f.set(m.ID, func(m *member.Member) { m.Role, m.Fallback = member.RoleOwner, true })
		if _, err := f.Adopt(ctx, idp, okta, m.ID); !errors.Is(err, member.ErrNotAdoptable) || !strings.Contains(err.Error(), "fallback owner") {
			t.Errorf("a fallback owner: %v", err)
		}
	})
}
