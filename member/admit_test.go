package member_test

import (
	"errors"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/member"
)

func TestProvisionedMemberIsLinkedOnceByOneClick(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		m := f.create(okta, "Ana@corp.example")
		if m.State() != member.StateInvited {
			t.Fatalf("a provisioned member is %s, want invited", m.State())
		}
		l := login(okta, "ana@CORP.example") // NameID in another case
		r := f.refused(l, member.RefusedInvitationPending, "not accepted yet")
		if r.Member.ID != m.ID {
			t.Errorf("the refusal names %q", r.Member.ID)
		}
		l.Accept = true
		got, err := f.Admit(ctx, l)
		if err != nil || got.ID != m.ID || !got.Admitted() {
			t.Fatalf("after the click: %+v, %v", got, err)
		}
		l.Accept = false
		if got, err = f.Admit(ctx, l); err != nil || got.ID != m.ID {
			t.Fatalf("next sign-in: %v", err)
		}
		f.audited("member.accepted", audit.Allowed)
		second := login(okta, "Ana@corp.example") // folds alike, another subject
		second.Accept = true
		f.refused(second, member.RefusedSecondSubject, "a second subject for a linked member")
		f.audited("member.link_refused", audit.Denied)
		if got, err = f.Admit(ctx, l); err != nil || got.ID != m.ID {
			t.Fatalf("the first subject after that: %v", err)
		}
	})
}

func TestExternalIDMatchesByteForByte(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		m := f.create(entra, "ben@corp.example") // external id "ext:ben@corp.example"
		f.refused(login(entra, "EXT:ben@corp.example"), member.RefusedNotMember, "external ids are case-exact")
		f.refused(login(entra, "ben@corp.example"), member.RefusedNotMember, "the user name is not this connection's match")
		got, err := f.Admit(ctx, login(entra, "ext:ben@corp.example"))
		if err != nil || got.ID != m.ID || !got.Accepted {
			t.Fatalf("first_sign_in accepts by itself: %+v, %v", got, err)
		}
		other := draft("cleo@corp.example")
		other.ExternalID = "ext:dup"
		twin := draft("dana@corp.example")
		twin.ExternalID = "ext:dup"
		for _, d := range []member.Member{other, twin} {
			if _, err := f.Create(ctx, idp, entra, d); err != nil {
				t.Fatal(err)
			}
		}
		f.refused(login(entra, "ext:dup"), member.RefusedNotMember, "two members with that label: linking either could be a takeover")
	})
}

// A subject that SCIM does not carry: the connection knows the person by Known, and
// so does the tombstone of somebody who was removed before he ever signed in.
func TestKnownIsWhatProvisioningComparesWith(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		m := f.create(entra, "ben@corp.example") // external id "ext:ben@corp.example"
		l := login(entra, "attribute:tid=1&oid=2")
		f.refused(l, member.RefusedNotMember, "the subject alone is in no directory")
		l.Known = member.Known{ExternalID: "EXT:ben@corp.example"}
		f.refused(l, member.RefusedNotMember, "external ids are case-exact")
		l.Known = member.Known{UserName: "ben@corp.example", ExternalID: "other"}
		f.refused(l, member.RefusedNotMember, "the user name is not this connection's match")
		l.Known = member.Known{ExternalID: "ext:ben@corp.example"}
		if got, err := f.Admit(ctx, l); err != nil || got.ID != m.ID {
			t.Fatalf("%+v, %v", got, err)
		}
		other := login(entra, "attribute:tid=1&oid=3")
		other.Known = l.Known
		f.refused(other, member.RefusedSecondSubject, "what SCIM knows a person by links once only")
		l.Known = member.Known{}
		if got, err := f.Admit(ctx, l); err != nil || got.ID != m.ID {
			t.Fatalf("linked, and not found by the subject: %+v, %v", got, err)
		}
	})
}

func TestEmailAddressAloneNeverLinks_G6_O12(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		victim := f.active(okta, "ana@corp.example")
		for name, l := range map[string]member.Login{
			"another provider with its own connection": login(entra, "ana@corp.example"),
			"another provider where anyone may join":   {Identity: member.Identity{Provider: "google", Issuer: "https://accounts.google.com", Subject: "117"}, Profile: member.Profile{Email: "ANA@corp.example"}, Join: member.JoinIDP},
			"same provider, new subject":               {Identity: member.Identity{Provider: "okta", Issuer: "https://idp.okta", Subject: "other"}, Profile: member.Profile{UserName: "ana2", Email: "ana@corp.example"}, Join: member.JoinIDP},
			"same subject, another issuer":             {Identity: member.Identity{Provider: "okta", Issuer: "https://evil", Subject: "ana@corp.example"}, Profile: member.Profile{UserName: "x", Email: "ana@corp.example"}, Join: member.JoinIDP},
			"full-width address":                       {Identity: member.Identity{Provider: "google", Issuer: "i", Subject: "118"}, Profile: member.Profile{UserName: "new", Email: "ａna@corp.example"}, Join: member.JoinIDP},
		} {
			l.Accept = true
			if m, err := f.Admit(ctx, l); err == nil {
				t.Errorf("%s: admitted as %s (victim %s)", name, m.ID, victim.ID)
			}
		}
		if m, err := f.Admit(ctx, login(okta, "ana@corp.example")); err != nil || m.ID != victim.ID {
			t.Errorf("the member himself: %v", err)
		}
	})
}

func TestConnectionOfAnotherProviderHasNoSay_S30(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		f.create(okta, "ana@corp.example")
		l := login(okta, "ana@corp.example")
		l.Identity.Provider, l.Accept = "evil", true
		f.refused(l, member.RefusedNotMember, "the wiring handed over a connection that is not the provider's")
		c := okta
		c.Match = ""
		l = login(c, "ana@corp.example")
		l.Accept = true
		f.refused(l, member.RefusedNotMember, "a connection without a rule matches nobody")
	})
}

func TestIncompleteIdentityIsNobody(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		good := member.Login{Identity: member.Identity{Provider: "google", Issuer: "i", Subject: "s"}, Profile: member.Profile{UserName: "ok"}, Join: member.JoinIDP}
		if _, err := f.Admit(ctx, good); err != nil {
			t.Fatal(err)
		}
		for _, i := range []member.Identity{
			{},
			{Issuer: "i", Subject: "s"},
			{Provider: "google", Subject: "s"},
			{Provider: "google", Issuer: "i"},
			{Provider: "google", Issuer: "i", Subject: "a\x00b"},
			{Provider: "google", Issuer: "i", Subject: "\xff"},
			{Provider: "google", Issuer: "i", Subject: strings.Repeat("x", 1025)},
			{Provider: "google", Issuer: "i", Subject: "a\nb"},
		} {
			f.refused(member.Login{Identity: i, Profile: member.Profile{UserName: "new"}, Join: member.JoinIDP}, member.RefusedUnknown, "not an identity")
		}
	})
}

func TestJoinOnlyWhereTheProviderMay(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		l := member.Login{
			Identity: member.Identity{Provider: "google", Issuer: "https://accounts.google.com", Subject: "1"},
			Profile:  member.Profile{Email: "new@corp.example", DisplayName: "New\r\nX: y" + strings.Repeat("é", 300)},
		}
		for _, j := range []member.Join{"", member.JoinSCIM, member.JoinInvitation, "IDP"} {
			l.Join = j
			f.refused(l, member.RefusedNotMember, "join "+string(j))
		}
		l.Join = member.JoinIDP
		withConnection := l
		withConnection.Connection = &member.Connection{ID: "c", Provider: "google", Match: member.MatchUserName}
		f.refused(withConnection, member.RefusedNotMember, "while SCIM is on only it brings people in")
		m, err := f.Admit(ctx, l)
		if err != nil || m.Source != member.SourceSSO || m.Role != member.RoleMember || m.UserName != "new@corp.example" || m.Connection != "" {
			t.Fatalf("joined as %+v, %v", m, err)
		}
		if len(m.DisplayName) > member.MaxLabel || strings.ContainsAny(m.DisplayName, "\r\n") {
			t.Errorf("display name %q", m.DisplayName)
		}
		again, err := f.Admit(ctx, l)
		if err != nil || again.ID != m.ID {
			t.Errorf("second sign-in: %q, %v", again.ID, err)
		}
		f.audited("member.joined", audit.Allowed)
		for name, userName := range map[string]string{"taken": "NEW@corp.example", "lookalike": "nеw@corp.example", "invisible": "ne\u200bw@corp.example"} {
			x := l
			x.Identity.Subject, x.Profile = name, member.Profile{UserName: userName}
			if m, err := f.Admit(ctx, x); err == nil {
				t.Errorf("%s name %q joined as %s", name, userName, m.ID)
			}
		}
	})
}

func TestTwentyTabsOfOnePersonAllSucceed_W4(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		f.create(okta, "ana@corp.example")
		for name, l := range map[string]member.Login{
			"first link": func() member.Login { l := login(okta, "ana@corp.example"); l.Accept = true; return l }(),
			"first join": {Identity: member.Identity{Provider: "google", Issuer: "i", Subject: "7"}, Profile: member.Profile{UserName: "tab"}, Join: member.JoinIDP},
		} {
			var wg sync.WaitGroup
			ids := make([]member.ID, 20)
			for i := range ids {
				wg.Go(func() {
					m, err := f.Admit(ctx, l)
					if err != nil {
						t.Errorf("%s, tab %d: %v", name, i, err)
					}
					ids[i] = m.ID
				})
			}
			wg.Wait()
			for _, id := range ids {
				if id != ids[0] {
					t.Errorf("%s: tabs became %v", name, ids)
					break
				}
			}
		}
	})
}

func TestInvitationNeedsItsLinkAndItsAddress_I01(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		c := okta
		m := f.create(c, "ana@corp.example")
		token := f.invite(m.ID, "Ana@corp.example", "google")
		l := member.Login{
			Identity:   member.Identity{Provider: "google", Issuer: "i", Subject: "1"},
			Profile:    member.Profile{UserName: "u", Email: "ana@corp.example"},
			Join:       member.JoinInvitation,
			Invitation: token,
		}
		for name, change := range map[string]func(*member.Login){
			"other address":  func(l *member.Login) { l.Profile.Email = "eve@corp.example" },
			"no address":     func(l *member.Login) { l.Profile.Email = "" },
			"other provider": func(l *member.Login) { l.Identity.Provider = "github" },
			"wrong token":    func(l *member.Login) { l.Invitation = "guess" },
			"no token":       func(l *member.Login) { l.Invitation = "" },
			"a click only":   func(l *member.Login) { l.Invitation, l.Accept = "", true },
		} {
			x := l
			change(&x)
			f.refused(x, member.RefusedNotMember, name)
		}
		f.clock.Advance(2 * time.Hour)
		f.refused(l, member.RefusedNotMember, "expired")
		f.clock.Advance(-2 * time.Hour)
		got, err := f.Admit(ctx, l)
		if err != nil || got.ID != m.ID || !got.Accepted {
			t.Fatalf("link, address and time are right: %+v, %v", got, err)
		}
		l.Identity.Subject = "2"
		f.refused(l, member.RefusedNotMember, "used twice")
	})
}

func TestInactiveMembersAreRefusedWithTheReason(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		m := f.active(okta, "ana@corp.example")
		l := login(okta, "ana@corp.example")
		l.Accept = true
		if _, err := f.Update(ctx, idp, okta, m.ID, 0, func(m *member.Member) error { m.Wish = false; return nil }); err != nil {
			t.Fatal(err)
		}
		f.refused(l, member.RefusedDeactivated, "deactivated by the IdP")
		if _, err := f.Suspend(ctx, member.Actor{Name: "member:owner"}, m.ID, true); err != nil {
			t.Fatal(err)
		}
		f.refused(l, member.RefusedSuspended, "suspended too")
		if _, err := f.Update(ctx, idp, okta, m.ID, 0, func(m *member.Member) error { m.Wish = true; return nil }); err != nil {
			t.Fatal(err)
		}
		f.refused(l, member.RefusedSuspended, "active=true does not lift a suspension")

		invited := f.create(okta, "ben@corp.example")
		if _, err := f.Update(ctx, idp, okta, invited.ID, 0, func(m *member.Member) error { m.Wish = false; return nil }); err != nil {
			t.Fatal(err)
		}
		l = login(okta, "ben@corp.example")
		l.Accept = true
		f.refused(l, member.RefusedDeactivated, "a click cannot undo the IdP's word")
		if _, err := f.Update(ctx, idp, okta, invited.ID, 0, func(m *member.Member) error { m.Wish = true; return nil }); err != nil {
			t.Fatal(err)
		}
		l.Accept = false
		f.refused(l, member.RefusedInvitationPending, "active=true does not accept an invitation")
	})
}

func TestRemovedPersonCannotJoinAgainByHimself_C10(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		signedIn := f.active(okta, "ana@corp.example")
		never := f.create(okta, "ben@corp.example")
		invitee := f.create(entra, "other@corp.example")
		for _, m := range []member.Member{signedIn, never} {
			if err := f.Delete(ctx, idp, okta, m.ID, 0); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range []string{"ana@corp.example", "ben@corp.example", "BEN@corp.example"} {
			l := login(okta, name)
			l.Connection, l.Join = nil, member.JoinIDP // SCIM was switched off since
			f.refused(l, member.RefusedRemoved, name)
			l.Invitation = f.invite(invitee.ID, name, "")
			f.refused(l, member.RefusedRemoved, name+" with an invitation")
		}
		free := login(okta, "cleo@corp.example")
		free.Connection, free.Join = nil, member.JoinIDP
		if _, err := f.Admit(ctx, free); err != nil {
			t.Errorf("somebody else: %v", err)
		}
		back := f.create(okta, "ana@corp.example") // the IdP provisions him again
		if back.ID == signedIn.ID {
			t.Error("an id was used again")
		}
		l := login(okta, "ana@corp.example")
		l.Accept = true
		if m, err := f.Admit(ctx, l); err != nil || m.ID != back.ID {
			t.Errorf("provisioned again: %q, %v", m.ID, err)
		}
		l = login(okta, "ben@corp.example")
		l.Connection, l.Join = nil, member.JoinIDP
		f.refused(l, member.RefusedRemoved, "another person's tombstone was not cleared")
	})
}

func TestStoreFailureIsNotARefusal_G2(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		broken := &member.Directory{Store: failing{}, Revoker: f.revoker}
		_, err := broken.Admit(ctx, login(okta, "ana@corp.example"))
		var r *member.Refusal
		if err == nil || errors.As(err, &r) {
			t.Errorf("got %v: a store that is down decides nothing about anyone", err)
		}
	})
}
