package member_test

import (
	"context"
	"errors"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/member/membertest"
	"github.com/ssogate/ssogate/store/sql"
)

// fixture is a Directory over one store, with a hand-moved clock.
type fixture struct {
	*member.Directory
	t       *testing.T
	store   member.Store
	log     membertest.Log
	revoker *membertest.Revoker
	clock   *clock.Manual
}

// onStores runs a test over the fake and over a real database.
func onStores(t *testing.T, test func(t *testing.T, f *fixture)) {
	for name, open := range map[string]func(t *testing.T) member.Store{
		"fake": func(*testing.T) member.Store { return membertest.NewFake() },
		"SQLite": func(t *testing.T) member.Store {
			d, err := sql.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "ssogate.db"))
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = d.Close() })
			return d
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := open(t)
			f := &fixture{t: t, store: s, log: s.(membertest.Log), revoker: &membertest.Revoker{}, clock: &clock.Manual{}}
			f.Directory = &member.Directory{Store: s, Revoker: f.revoker, Now: f.clock.Now}
			test(t, f)
		})
	}
}

var (
	ctx   = context.Background()
	okta  = member.Connection{ID: "scim-okta", Provider: "okta", Activation: member.ActivateInvitation, Match: member.MatchUserName}
	entra = member.Connection{ID: "scim-entra", Provider: "entra", Activation: member.ActivateFirstSignIn, Match: member.MatchExternalID}
	idp   = member.Actor{Name: "scim:okta", RequestID: "req", Address: "192.0.2.1"}
)

func draft(userName string) member.Member {
	return member.Member{UserName: userName, DisplayName: "Ana", Email: userName, ExternalID: "ext:" + userName, Wish: true}
}

// create provisions a member, or ends the test.
func (f *fixture) create(c member.Connection, userName string) member.Member {
	f.t.Helper()
	m, err := f.Create(ctx, idp, c, draft(userName))
	if err != nil {
		f.t.Fatalf("create %q: %v", userName, err)
	}
	return m
}

// active makes a member who has accepted and signed in once.
func (f *fixture) active(c member.Connection, userName string) member.Member {
	f.t.Helper()
	f.create(c, userName)
	l := login(c, userName)
	l.Accept = true
	m, err := f.Admit(ctx, l)
	if err != nil {
		f.t.Fatalf("admit %q: %v", userName, err)
	}
	return m
}

// login is a verified sign-in through the provider of c.
func login(c member.Connection, subject string) member.Login {
	return member.Login{
		Identity: member.Identity{Provider: c.Provider, Issuer: "https://idp." + c.Provider, Subject: subject},
		Profile:  member.Profile{UserName: subject, Email: subject, DisplayName: "Ana"},
		Join:     member.JoinSCIM, Connection: &c, Actor: member.Actor{Name: "signin:" + c.Provider},
	}
}

func (f *fixture) get(id member.ID) (m member.Member) {
	f.t.Helper()
	if err := f.store.View(ctx, func(tx member.Tx) (err error) {
		m, err = tx.Member(id)
		return err
	}); err != nil {
		f.t.Fatalf("member %s: %v", id, err)
	}
	return m
}

// refused requires a *Refusal with the code.
func (f *fixture) refused(l member.Login, want member.RefusalCode, why string) *member.Refusal {
	f.t.Helper()
	m, err := f.Admit(ctx, l)
	var r *member.Refusal
	if !errors.As(err, &r) || r.Code != want || m.ID != "" {
		f.t.Fatalf("%s: admitted %q with %v, want refusal %q", why, m.UserName, err, want)
	}
	return r
}

// rows answers the revocation log from a number on.
func (f *fixture) rows(after int64) []member.Revocation {
	f.t.Helper()
	rs, err := f.log.Revocations(ctx, after, 1000)
	if err != nil {
		f.t.Fatal(err)
	}
	return rs
}

func (f *fixture) last() int64 {
	f.t.Helper()
	n, err := f.log.LastRevocation(ctx)
	if err != nil {
		f.t.Fatal(err)
	}
	return n
}

// waited requires that the call before waited for exactly these rows.
func (f *fixture) waited(why string, want ...int64) {
	f.t.Helper()
	if got := f.revoker.Take(); !slices.Equal(got, want) {
		f.t.Errorf("%s: waited for rows %v, want %v", why, got, want)
	}
}

// events answers the kinds in the audit log; nil where the store cannot tell.
func (f *fixture) events() (kinds []string, ok bool) {
	fake, ok := f.store.(*membertest.Fake)
	if !ok {
		return nil, false
	}
	for _, e := range fake.Events() {
		kinds = append(kinds, e.Kind)
	}
	return kinds, true
}

func (f *fixture) audited(kind string, outcome audit.Outcome) {
	f.t.Helper()
	fake, ok := f.store.(*membertest.Fake)
	if !ok {
		return
	}
	for _, e := range fake.Events() {
		if e.Kind == kind && e.Outcome == outcome {
			return
		}
	}
	kinds, _ := f.events()
	f.t.Errorf("no %s %q among %v", outcome, kind, kinds)
}

func (f *fixture) invite(id member.ID, email, provider string) (token string) {
	f.t.Helper()
	token = "hash-of-token-" + string(id) + email
	if err := f.store.Update(ctx, func(tx member.Tx) error {
		return tx.InsertInvitation(member.Invitation{
			Token: token, Member: id, Email: email, Provider: provider,
			Expires: f.clock.Now().Add(time.Hour), Created: f.clock.Now(),
		})
	}); err != nil {
		f.t.Fatal(err)
	}
	return token
}

// set changes a row beneath the Directory, as other parts of the product will.
func (f *fixture) set(id member.ID, change func(*member.Member)) {
	f.t.Helper()
	if err := f.store.Update(ctx, func(tx member.Tx) error {
		m, err := tx.Member(id)
		if err != nil {
			return err
		}
		v := m.Version
		change(&m)
		m.Version++
		return tx.UpdateMember(m, v)
	}); err != nil {
		f.t.Fatal(err)
	}
}
