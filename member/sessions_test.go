package member_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/member"
)

func TestEndedSessionIsRememberedAndCutOff_C6(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		m := f.active(okta, "ana@corp.example")
		f.revoker.Take()
		e := member.EndedSession{Hash: "aabbccddeeff", Member: m.ID, Until: f.clock.Now(), Reason: "logout"}
		if err := f.EndSession(ctx, idp, e); err != nil {
			t.Fatal(err)
		}
		row := f.rows(f.last() - 1)[0]
		if row.Kind != member.End || row.Scope != member.ScopeSession || row.Target != e.Hash {
			t.Errorf("row %+v", row)
		}
		f.waited("logout", row.Seq)
		s, err := f.Snapshot(ctx, m.ID, member.SessionRef{Hash: e.Hash})
		if err != nil || !s.SessionEnded || s.Member.Epoch != m.Epoch {
			t.Errorf("snapshot %+v, %v: only this session ends", s, err)
		}
		if s, err = f.Snapshot(ctx, m.ID, member.SessionRef{Hash: "another"}); err != nil || s.SessionEnded {
			t.Errorf("another session: %+v, %v", s, err)
		}
		if err := f.EndSession(ctx, idp, e); err != nil {
			t.Errorf("twice: %v", err)
		}
		f.waited("logout again", row.Seq)
		if err := f.EndSession(ctx, idp, member.EndedSession{}); err == nil {
			t.Error("a session without a hash was ended")
		}
		f.audited("session.ended", audit.Allowed)
	})
}

func TestSignOutEverywhereRaisesTheEpoch_C6(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		m := f.active(okta, "ana@corp.example")
		f.revoker.Take()
		if err := f.EndSessions(ctx, idp, m.ID, "lost laptop"); err != nil {
			t.Fatal(err)
		}
		row, now := f.rows(f.last() - 1)[0], f.get(m.ID)
		if now.Epoch != m.Epoch+1 || !now.Admitted() || row.Epoch != now.Epoch || row.Scope != member.ScopeMember || row.Kind != member.End {
			t.Errorf("member %+v, row %+v", now, row)
		}
		f.waited("sign out everywhere", row.Seq)
		if err := f.EndSessions(ctx, idp, "nobody", ""); !errors.Is(err, member.ErrNotFound) {
			t.Errorf("unknown: %v", err)
		}
	})
}

// G8: an IdP chooses the index. One that no session can have ends nothing, is not
// written, and is no fault of the database.
func TestALogoutByAnIndexThatNoSessionCanHaveIsRefused(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		m := f.active(okta, "ana@corp.example")
		f.revoker.Take()
		last := f.last()
		for name, index := range map[string]string{
			"too long": strings.Repeat("i", member.MaxSessionIndex+1), "not UTF-8": "i\xff", "with a NUL": "i\x00",
		} {
			err := f.EndLogins(ctx, idp, member.Logins{Member: m.ID, Provider: okta.ID, Index: index}, "logout")
			if _, ok := errors.AsType[*member.InvalidError](err); !ok {
				t.Errorf("%s: %v, want an InvalidError", name, err)
			}
		}
		if f.last() != last {
			t.Error("a row was written")
		}
		longest := member.Logins{Member: m.ID, Provider: okta.ID, Index: strings.Repeat("i", member.MaxSessionIndex)}
		if err := f.EndLogins(ctx, idp, longest, "logout"); err != nil {
			t.Errorf("the longest that a session may have: %v", err)
		}
	})
}

func TestSuspensionCutsOffAndSurvivesTheIdP(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		m := f.active(okta, "ana@corp.example")
		f.revoker.Take()
		got, err := f.Suspend(ctx, idp, m.ID, true)
		if err != nil || got.State() != member.StateSuspended || got.Epoch != m.Epoch+1 || !equal(got, f.get(m.ID)) {
			t.Fatalf("suspended to %+v, stored %+v, %v", got, f.get(m.ID), err)
		}
		seq := f.last()
		f.waited("suspension", seq)
		if _, err := f.Suspend(ctx, idp, m.ID, true); err != nil {
			t.Fatal(err)
		}
		f.waited("suspended twice (C2)", seq)
		if got, err = f.Update(ctx, idp, okta, m.ID, 0, wish(false)); err != nil || got.State() != member.StateSuspended {
			t.Errorf("deactivated meanwhile: %s, %v", got.State(), err)
		}
		if got, err = f.Suspend(ctx, idp, m.ID, false); err != nil || got.State() != member.StateDeactivated || !equal(got, f.get(m.ID)) {
			t.Errorf("lifted: %s, %v: the IdP's word stands", got.State(), err)
		}
		if got, err = f.Update(ctx, idp, okta, m.ID, 0, wish(true)); err != nil || !got.Admitted() || got.Epoch <= m.Epoch+1 {
			t.Errorf("active again: %+v, %v", got, err)
		}
	})
}
