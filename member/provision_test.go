package member_test

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/member"
)

func wish(to bool) func(*member.Member) error {
	return func(m *member.Member) error { m.Wish = to; return nil }
}

func TestCreateTakesOnlyWhatAConnectionMayGive_C02(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		d := draft("ana@corp.example")
		d.ID, d.Source, d.Fallback, d.Accepted, d.Suspended = "chosen", member.SourceLocal, true, true, true
		d.Epoch, d.Version, d.Connection, d.Created = 99, 99, "scim-entra", time.Unix(1, 0)
		d.Role, d.Document = member.RoleManager, json.RawMessage(`{"title":"Dr"}`)
		m, err := f.Create(ctx, idp, okta, d)
		if err != nil {
			t.Fatal(err)
		}
		if m.ID == "chosen" || len(m.ID) < 26 || m.Source != member.SourceSCIM || m.Fallback || m.Accepted || m.Suspended ||
			m.Epoch != 1 || m.Version != 1 || m.Connection != okta.ID || m.Created.Year() == 1970 || m.Role != member.RoleMember {
			t.Errorf("mass assignment: %+v", m)
		}
		if m.DisplayName != d.DisplayName || m.Email != d.Email || m.ExternalID != d.ExternalID || string(m.Document) != `{"title":"Dr"}` || !m.Wish {
			t.Errorf("lost what it may give: %+v", m)
		}
		if stored := f.get(m.ID); stored.Version != 1 || stored.State() != member.StateInvited {
			t.Errorf("stored %+v", stored)
		}
		now := okta
		now.Activation, now.MaySetRole = member.ActivateImmediate, true
		d = draft("ben@corp.example")
		d.Role = member.RoleManager
		if m, err = f.Create(ctx, idp, now, d); err != nil || m.Role != member.RoleManager || m.State() != member.StateActive {
			t.Errorf("a connection that may: %+v, %v", m, err)
		}
		if _, err := f.Create(ctx, idp, member.Connection{}, draft("x")); !errors.Is(err, member.ErrOutOfScope) {
			t.Errorf("a connection without an id creates: %v", err)
		}
		f.audited("member.created", audit.Allowed)
	})
}

func TestOverlongAndOddLabels(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		d := draft("ana@corp.example")
		d.DisplayName, d.GivenName = strings.Repeat("é", 256), " Ana\r\n\x1b[31mX\u202e "
		m, err := f.Create(ctx, idp, okta, d)
		if err != nil || m.GivenName != "Ana   [31mX" {
			t.Errorf("longest allowed: %q, %v", m.GivenName, err)
		}
		for name, change := range map[string]func(*member.Member){
			"display name":  func(m *member.Member) { m.DisplayName = strings.Repeat("é", 257) },
			"given name":    func(m *member.Member) { m.GivenName = strings.Repeat("a", 257) },
			"family name":   func(m *member.Member) { m.FamilyName = strings.Repeat("a", 1<<20) },
			"e-mail":        func(m *member.Member) { m.Email = strings.Repeat("a", 321) },
			"external id":   func(m *member.Member) { m.ExternalID = strings.Repeat("a", 513) },
			"external NUL":  func(m *member.Member) { m.ExternalID = "a\x00" },
			"external UTF8": func(m *member.Member) { m.ExternalID = "\xff" },
			"document":      func(m *member.Member) { m.Document = make([]byte, member.MaxDocument+1) },
			"role":          func(m *member.Member) { m.Role = "root" },
		} {
			c := okta
			c.MaySetRole = true
			x := draft("x@corp.example")
			change(&x)
			var invalid *member.InvalidError
			if _, err := f.Create(ctx, idp, c, x); !errors.As(err, &invalid) {
				t.Errorf("%s: created with %v", name, err)
			}
			if _, err := f.Update(ctx, idp, c, m.ID, 0, func(m *member.Member) error { change(m); return nil }); !errors.As(err, &invalid) {
				t.Errorf("%s: updated with %v", name, err)
			}
		}
	})
}

func TestUpdateChangesOnlyWhatAConnectionMay(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		m := f.active(okta, "ana@corp.example")
		f.clock.Advance(time.Minute)
		got, err := f.Update(ctx, idp, okta, m.ID, m.Version, func(m *member.Member) error {
			m.ID, m.Source, m.Connection, m.Fallback, m.Accepted, m.Suspended = "other", "x", "scim-entra", true, false, true
			m.Epoch, m.Version, m.Created = 77, 77, time.Time{}
			m.DisplayName, m.UserName, m.Document = "Ana B", "ana.b@corp.example", json.RawMessage(`{"nickName":"A"}`)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		want := m
		want.DisplayName, want.UserName, want.Document = "Ana B", "ana.b@corp.example", json.RawMessage(`{"nickName":"A"}`)
		want.Version, want.Modified = m.Version+1, got.Modified
		if string(got.Document) != string(want.Document) {
			t.Errorf("document %s", got.Document)
		}
		got.Document, want.Document = nil, nil
		if !equal(got, want) || !got.Modified.After(m.Modified) {
			t.Errorf("updated to\n%+v, want\n%+v", got, want)
		}
		same, err := f.Update(ctx, idp, okta, m.ID, 0, func(m *member.Member) error {
			m.Document = json.RawMessage(`{ "nickName": "A" }`)
			return nil
		})
		if err != nil || same.Version != got.Version || !same.Modified.Equal(got.Modified) {
			t.Errorf("without a difference version %d became %d (%v)", got.Version, same.Version, err)
		}
		if _, err := f.Update(ctx, idp, okta, m.ID, m.Version, wish(false)); !errors.Is(err, member.ErrVersion) {
			t.Errorf("old version: %v", err)
		}
		boom := errors.New("patch does not apply")
		if _, err := f.Update(ctx, idp, okta, m.ID, 0, func(m *member.Member) error { m.Wish = false; return boom }); !errors.Is(err, boom) {
			t.Errorf("change failed: %v", err)
		}
		if now := f.get(m.ID); !now.Wish || now.Version != got.Version {
			t.Errorf("a failed change left %+v (C08)", now)
		}
	})
}

func equal(a, b member.Member) bool {
	x, _ := json.Marshal(a)
	y, _ := json.Marshal(b)
	return string(x) == string(y)
}

// The heart of the cut-off: what must be written, and what must be waited for.
func TestGuaranteeDeactivationEndsSessionsBeforeItSucceeds(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		m := f.active(okta, "ana@corp.example")
		f.revoker.Take()
		start := f.last()
		got, err := f.Update(ctx, idp, okta, m.ID, 0, wish(false))
		if err != nil || got.Epoch != m.Epoch+1 || got.State() != member.StateDeactivated {
			t.Fatalf("deactivated to %+v, %v", got, err)
		}
		rows := f.rows(start)
		if len(rows) != 1 || rows[0].Kind != member.End || rows[0].Scope != member.ScopeMember || rows[0].Target != string(m.ID) || rows[0].Epoch != got.Epoch {
			t.Fatalf("rows %+v: want one that ends all epochs below %d (C7)", rows, got.Epoch)
		}
		f.waited("deactivation", rows[0].Seq)
		again, err := f.Update(ctx, idp, okta, m.ID, 0, wish(false))
		if err != nil || again.Version != got.Version || f.last() != rows[0].Seq {
			t.Errorf("deactivated twice: %+v, %v", again, err)
		}
		f.waited("a retry that changes nothing (C2)", rows[0].Seq)

		back, err := f.Update(ctx, idp, okta, m.ID, 0, wish(true))
		if err != nil || back.Epoch != got.Epoch+1 || back.State() != member.StateActive {
			t.Fatalf("re-activated to %+v, %v", back, err)
		}
		if f.last() != rows[0].Seq {
			t.Error("re-activation wrote a row: it could end sessions made after it")
		}
		f.waited("re-activation")
		f.audited("member.deactivated", audit.Allowed)
		f.audited("member.reactivated", audit.Allowed)
	})
}

func TestUnconfirmedCutOffIsAnErrorButDurable_C2(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		m := f.active(okta, "ana@corp.example")
		down := errors.New("a node does not answer")
		f.revoker.Fail(down)
		if _, err := f.Update(ctx, idp, okta, m.ID, 0, wish(false)); !errors.Is(err, down) {
			t.Fatalf("deactivation answered %v before it was true everywhere", err)
		}
		if f.get(m.ID).Wish {
			t.Fatal("the change is not durable")
		}
		if _, err := f.Update(ctx, idp, okta, m.ID, 0, wish(false)); !errors.Is(err, down) {
			t.Errorf("the retry answered %v", err)
		}
		if err := f.Delete(ctx, idp, okta, m.ID, 0); !errors.Is(err, down) {
			t.Errorf("delete answered %v", err)
		}
		if err := f.Delete(ctx, idp, okta, m.ID, 0); !errors.Is(err, down) {
			t.Errorf("delete of a deleted member answered %v: his cut-off is not confirmed either", err)
		}
		f.revoker.Fail(nil)
		f.revoker.Take()
		if err := f.Delete(ctx, idp, okta, m.ID, 0); !errors.Is(err, member.ErrNotFound) {
			t.Errorf("delete again: %v", err)
		}
		f.waited("delete again", f.last())
	})
}

func TestDeleteEndsSessionsOfAllEpochs(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		m := f.active(okta, "ana@corp.example")
		f.revoker.Take()
		if err := f.Delete(ctx, idp, okta, m.ID, m.Version-1); !errors.Is(err, member.ErrVersion) {
			t.Fatalf("old version: %v", err)
		}
		if err := f.Delete(ctx, idp, okta, m.ID, m.Version); err != nil {
			t.Fatal(err)
		}
		row := f.rows(f.last() - 1)[0]
		if row.Kind != member.End || row.Target != string(m.ID) || row.Epoch <= m.Epoch {
			t.Errorf("row %+v for epoch %d", row, m.Epoch)
		}
		f.waited("delete", row.Seq)
		if _, err := f.Snapshot(ctx, m.ID, member.SessionRef{Hash: "h"}); !errors.Is(err, member.ErrNotFound) {
			t.Errorf("snapshot of a deleted member: %v", err)
		}
		f.audited("member.deleted", audit.Allowed)
	})
}

func TestVisibleChangesMakePrincipalsStale(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		m := f.active(okta, "ana@corp.example")
		for _, c := range []struct {
			name   string
			change func(*member.Member)
			row    bool
		}{
			{"display name", func(m *member.Member) { m.DisplayName = "B" }, true},
			{"e-mail", func(m *member.Member) { m.Email = "b@corp.example" }, true},
			{"user name", func(m *member.Member) { m.UserName = "b@corp.example" }, true},
			{"document", func(m *member.Member) { m.Document = json.RawMessage(`{"a":1}`) }, false},
			{"external id", func(m *member.Member) { m.ExternalID = "e" }, false},
		} {
			before := f.last()
			if _, err := f.Update(ctx, idp, okta, m.ID, 0, func(m *member.Member) error { c.change(m); return nil }); err != nil {
				t.Fatal(err)
			}
			rows := f.rows(before)
			if len(rows) > 0 != c.row || c.row && (rows[0].Kind != member.Recheck || rows[0].Scope != member.ScopeMember) {
				t.Errorf("%s: rows %+v", c.name, rows)
			}
		}
		if got := f.get(m.ID); got.Epoch != m.Epoch {
			t.Error("a change of labels ended sessions")
		}
	})
}

func TestRolesAreOutOfReachUnlessAllowed_C02_C04(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		m := f.active(okta, "ana@corp.example")
		may := okta
		may.MaySetRole = true
		role := func(r member.Role) func(*member.Member) error {
			return func(m *member.Member) error { m.Role = r; return nil }
		}
		got, err := f.Update(ctx, idp, may, m.ID, 0, role(member.RoleManager))
		if err != nil || got.Role != member.RoleManager {
			t.Fatalf("may_set_role: %q, %v", got.Role, err)
		}
		f.revoker.Take()
		if got, err = f.Update(ctx, idp, may, m.ID, 0, role(member.RoleMember)); err != nil || got.Role != member.RoleMember {
			t.Fatalf("back: %q, %v", got.Role, err)
		}
		f.waited("losing a role", f.last())
		if got, err = f.Update(ctx, idp, okta, m.ID, 0, role(member.RoleManager)); err != nil || got.Role != member.RoleMember || got.Version == 0 {
			t.Errorf("without may_set_role: %q, %v, want it ignored", got.Role, err)
		}
		for _, c := range []member.Connection{okta, may} {
			if _, err := f.Update(ctx, idp, c, m.ID, 0, role(member.RoleOwner)); !errors.Is(err, member.ErrRole) {
				t.Errorf("owner, may_set_role %v: %v", c.MaySetRole, err)
			}
			d := draft("new@corp.example")
			d.Role = member.RoleOwner
			if _, err := f.Create(ctx, idp, c, d); !errors.Is(err, member.ErrRole) {
				t.Errorf("owner at creation: %v", err)
			}
		}
		f.set(m.ID, func(m *member.Member) { m.Role = member.RoleOwner })
		if _, err := f.Update(ctx, idp, may, m.ID, 0, role(member.RoleMember)); !errors.Is(err, member.ErrRole) {
			t.Errorf("taking owner away: %v", err)
		}
		if got, err = f.Update(ctx, idp, okta, m.ID, 0, wish(false)); err != nil || got.Wish {
			t.Errorf("an ordinary owner made inactive: %v, %v", got.Wish, err)
		}
	})
}

func TestFallbackOwnerIsOutOfReach_C04(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		m := f.active(okta, "ana@corp.example")
		f.set(m.ID, func(m *member.Member) { m.Role, m.Fallback = member.RoleOwner, true })
		elsewhere := f.active(entra2(), "owner@corp.example")
		f.set(elsewhere.ID, func(m *member.Member) { m.Role, m.Fallback, m.Connection = member.RoleOwner, true, "" })
		for _, id := range []member.ID{m.ID, elsewhere.ID} {
			before := f.get(id)
			for name, change := range map[string]func(*member.Member){
				"inactive": func(m *member.Member) { m.Wish = false },
				"renamed":  func(m *member.Member) { m.UserName = "eve@corp.example" },
			} {
				if _, err := f.Update(ctx, idp, okta, id, 0, func(m *member.Member) error { change(m); return nil }); !errors.Is(err, member.ErrFallback) {
					t.Errorf("%s: %v, want ErrFallback", name, err)
				}
			}
			if err := f.Delete(ctx, idp, okta, id, 0); !errors.Is(err, member.ErrFallback) {
				t.Errorf("deleted: %v, want ErrFallback", err)
			}
			if _, err := f.Suspend(ctx, idp, id, true); !errors.Is(err, member.ErrFallback) {
				t.Errorf("suspended: %v, want ErrFallback", err)
			}
			if !equal(f.get(id), before) {
				t.Error("something was changed")
			}
		}
	})
}

func entra2() member.Connection {
	c := entra
	c.Match = member.MatchUserName
	return c
}

func TestConnectionsSeeOnlyTheirOwn_C09(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		m := f.create(okta, "ana@corp.example")
		if _, _, err := f.Get(ctx, okta, m.ID); err != nil {
			t.Fatal(err)
		}
		for _, c := range []member.Connection{entra, {}, {ID: "SCIM-OKTA"}} {
			_, _, get := f.Get(ctx, c, m.ID)
			_, update := f.Update(ctx, idp, c, m.ID, 0, wish(false))
			for _, err := range []error{get, update, f.Delete(ctx, idp, c, m.ID, 0)} {
				if !errors.Is(err, member.ErrOutOfScope) {
					t.Errorf("connection %q: %v", c.ID, err)
				}
			}
		}
		if _, _, err := f.Get(ctx, okta, "nobody"); !errors.Is(err, member.ErrNotFound) {
			t.Errorf("unknown: %v", err)
		}
		if f.get(m.ID).Version != 1 {
			t.Error("a foreign connection changed him")
		}
	})
}

func TestIDsAreRandomAndNeverAlike_C09(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		var ids []member.ID
		for _, n := range []string{"a", "b", "c", "d"} {
			ids = append(ids, f.create(okta, n).ID)
		}
		sorted := slices.Clone(ids)
		slices.Sort(sorted)
		for i, id := range sorted {
			if i > 0 && id[:4] == sorted[i-1][:4] {
				t.Errorf("ids %v share their beginning", ids)
			}
		}
	})
}
