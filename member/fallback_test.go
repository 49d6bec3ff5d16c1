package member_test

import (
	"errors"
	"testing"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/member/membertest"
)

func TestFallbackOwnerIsMadeAndFound(t *testing.T) {
	ctx, by := t.Context(), member.Actor{Name: "cli"}
	d := &member.Directory{Store: membertest.NewFake(), Revoker: &membertest.Revoker{}}
	m, err := d.CreateFallbackOwner(ctx, by, member.Member{UserName: "Rescue", Role: member.RoleMember, Connection: "okta"})
	if err != nil {
		t.Fatal(err)
	}
	if !m.Fallback || m.Role != member.RoleOwner || m.Connection != "" || m.Source != member.SourceLocal || !m.Admitted() {
		t.Errorf("%+v", m)
	}
	if _, err := d.CreateFallbackOwner(ctx, by, member.Member{UserName: "rescue"}); !errors.Is(err, member.ErrConflict) {
		t.Errorf("C03: the same name in another case: %v", err)
	}
	var invalid *member.InvalidError
	if _, err := d.CreateFallbackOwner(ctx, by, member.Member{}); !errors.As(err, &invalid) {
		t.Errorf("without a name: %v", err)
	}
	if got, err := d.RestoreFallbackOwner(ctx, by, "RESCUE"); err != nil || got.ID != m.ID || got.Version != m.Version {
		t.Errorf("%+v, %v", got, err)
	}
	if err := d.Store.Update(ctx, func(tx member.Tx) error {
		broken := m
		broken.Role, broken.Suspended, broken.Version = member.RoleMember, true, m.Version+1
		return tx.UpdateMember(broken, m.Version)
	}); err != nil {
		t.Fatal(err)
	}
	if got, err := d.RestoreFallbackOwner(ctx, by, "rescue"); err != nil || !got.Admitted() || got.Role != member.RoleOwner {
		t.Errorf("%+v, %v", got, err)
	}
	c := member.Connection{ID: "scim", Provider: "okta", Activation: member.ActivateImmediate}
	if _, err := d.Create(ctx, by, c, member.Member{UserName: "ana", Wish: true}); err != nil {
		t.Fatal(err)
	}
	if _, err := d.RestoreFallbackOwner(ctx, by, "ana"); !errors.Is(err, member.ErrNotFallback) {
		t.Errorf("a member: %v", err)
	}
}

func TestLocalCredentialsAdmitOnlyWhoIsAdmitted(t *testing.T) {
	ctx, by := t.Context(), member.Actor{Name: "cli"}
	d := &member.Directory{Store: membertest.NewFake(), Revoker: &membertest.Revoker{}}
	c := member.Connection{ID: "scim", Provider: "okta", Activation: member.ActivateInvitation}
	pending, err := d.Create(ctx, by, c, member.Member{UserName: "pending", Wish: true})
	if err != nil {
		t.Fatal(err)
	}
	c.Activation = member.ActivateImmediate
	ana, err := d.Create(ctx, by, c, member.Member{UserName: "ana", Wish: true})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := d.AdmitLocal(ctx, ana); err != nil || got.ID != ana.ID || got.Epoch != ana.Epoch {
		t.Errorf("%+v, %v", got, err)
	}
	var refused *member.Refusal
	if _, err := d.AdmitLocal(ctx, pending); !errors.As(err, &refused) {
		t.Errorf("an invitation that waits: %v", err)
	}
	if _, err := d.AdmitLocal(ctx, member.Member{}); !errors.Is(err, member.ErrNotFound) {
		t.Errorf("nobody: %v", err)
	}
	if err := d.EndSessions(ctx, by, ana.ID, "test"); err != nil {
		t.Fatal(err)
	}
	if _, err := d.AdmitLocal(ctx, ana); !errors.As(err, &refused) {
		t.Errorf("signed out everywhere since the credentials were compared: %v", err)
	}
	if _, err := d.Suspend(ctx, by, ana.ID, true); err != nil {
		t.Fatal(err)
	}
	if _, err := d.AdmitLocal(ctx, ana); !errors.As(err, &refused) || refused.Code != member.RefusedSuspended {
		t.Errorf("suspended: %v", err)
	}
}
