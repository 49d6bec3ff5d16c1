package member_test

import (
	"errors"
	"testing"
	"time"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
)

// scribe writes letters that hold the token in the clear, for the test to read.
type scribe struct{ tokens []string }

func (s *scribe) Invitation(m member.Member, i member.Invitation, token string) (*member.Mail, error) {
	if m.Email == "none@" {
		return nil, nil
	}
	s.tokens = append(s.tokens, token)
	return &member.Mail{ID: secret.NewToken(), Member: m.ID, Invitation: i.Token, Sealed: []byte(token), Created: i.Created}, nil
}

func (s *scribe) last() string { return secret.Sum(s.tokens[len(s.tokens)-1]).String() }

// TestProvisionedPeopleAreInvitedOnce follows one person through his life.
func TestProvisionedPeopleAreInvitedOnce(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		s := &scribe{}
		f.Letters = s
		c := okta
		var id member.ID
		letters := func(want int, after string) {
			t.Helper()
			if len(s.tokens) != want {
				t.Errorf("%d letters after %s, want %d", len(s.tokens), after, want)
			}
		}
		set := func(change func(*member.Member)) {
			t.Helper()
			if _, err := f.Update(t.Context(), idp, c, id, 0, func(m *member.Member) error { change(m); return nil }); err != nil {
				t.Fatal(err)
			}
		}
		m, err := f.Create(t.Context(), idp, c, member.Member{UserName: "ana@corp.example", Email: "ana@corp.example", Wish: true})
		if err != nil {
			t.Fatal(err)
		}
		id = m.ID
		letters(1, "the creation")
		if _, err := f.Create(t.Context(), idp, c, member.Member{UserName: "ANA@corp.example", Email: "ana@corp.example", Wish: true}); !errors.Is(err, member.ErrConflict) {
			t.Fatal(err)
		}
		letters(1, "a repeat that is refused")
		set(func(m *member.Member) { m.DisplayName = "Ana" })
		letters(1, "a change of the name")
		if i, who, err := f.LookInvitation(t.Context(), s.last()); err != nil || who.ID != m.ID || i.Email != "ana@corp.example" || i.Provider != c.Provider {
			t.Errorf("look: %+v, %v", i, err)
		}
		old := s.last()
		set(func(m *member.Member) { m.Email = "ana.lee@corp.example" })
		letters(2, "another address")
		if _, _, err := f.LookInvitation(t.Context(), old); !errors.Is(err, member.ErrInvitation) {
			t.Errorf("I01: the invitation to the old address: %v", err)
		}
		set(func(m *member.Member) { m.Wish = false })
		if _, err := f.OpenInvitation(t.Context(), s.last()); !errors.Is(err, member.ErrInvitation) {
			t.Errorf("I01: the invitation of somebody who was deactivated: %v", err)
		}
		set(func(m *member.Member) { m.Wish = true })
		letters(3, "the re-activation")
		now := f.clock.Now()
		i, err := f.OpenInvitation(t.Context(), s.last())
		if err != nil || i.State(now, member.MailSent) != member.InvitationSent {
			t.Errorf("opened: %+v, %v", i, err)
		}
		if i, _, _ := f.LookInvitation(t.Context(), s.last()); i.State(now, member.MailSent) != member.InvitationOpened {
			t.Errorf("state %s", i.State(now, member.MailSent))
		}
		who := member.Identity{Provider: c.Provider, Issuer: "iss", Subject: "ana@corp.example"}
		if _, err := f.Admit(t.Context(), member.Login{Actor: idp, Identity: who, Connection: &c}); err == nil {
			t.Error("a sign-in without the link or a click accepted the invitation")
		}
		if _, err := f.Admit(t.Context(), member.Login{Actor: idp, Identity: who, Connection: &c, Invitation: s.last()}); err != nil {
			t.Errorf("the sign-in with the link: %v", err)
		}
		if _, err := f.OpenInvitation(t.Context(), s.last()); !errors.Is(err, member.ErrInvitation) {
			t.Errorf("I01: used twice: %v", err)
		}
		set(func(m *member.Member) { m.Wish = false })
		set(func(m *member.Member) { m.Wish = true })
		letters(3, "the re-activation of somebody who has accepted")
	})
}

func TestInvitationsExpireAndAreNotMadeWhereNobodyCouldReadThem(t *testing.T) {
	onStores(t, func(t *testing.T, f *fixture) {
		s := &scribe{}
		f.Letters = s
		for name, tc := range map[string]struct {
			activation member.Activation
			email      string
			wish       bool
			want       int
		}{
			"invited": {member.ActivateInvitation, "a@corp.example", true, 1}, "no address": {member.ActivateInvitation, "", true, 0},
			"an address that is none": {member.ActivateInvitation, "none@", true, 0}, "not wanted": {member.ActivateInvitation, "b@corp.example", false, 0},
			"first sign-in": {member.ActivateFirstSignIn, "c@corp.example", true, 0}, "immediate": {member.ActivateImmediate, "d@corp.example", true, 0},
		} {
			s.tokens = nil
			c := okta
			c.Activation = tc.activation
			if _, err := f.Create(t.Context(), idp, c, member.Member{UserName: name, Email: tc.email, Wish: tc.wish}); err != nil {
				t.Fatal(err)
			}
			if len(s.tokens) != tc.want {
				t.Errorf("%s: %d letters, want %d", name, len(s.tokens), tc.want)
			}
			if tc.want == 0 {
				continue
			}
			now := f.Now
			f.Now = func() time.Time { return now().Add(member.InvitationLife) }
			if _, _, err := f.LookInvitation(t.Context(), s.last()); !errors.Is(err, member.ErrInvitation) {
				t.Errorf("I01: expired: %v", err)
			}
			f.Now = now
		}
		for _, unknown := range []string{"", "x", secret.Sum("x").String()} {
			if _, _, err := f.LookInvitation(t.Context(), unknown); !errors.Is(err, member.ErrInvitation) {
				t.Errorf("unknown: %v", err)
			}
		}
	})
}
