package sql

import (
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/sso/local"
)

func person(id member.ID, change func(*member.Member)) member.Member {
	now := time.Now().UTC().Truncate(time.Millisecond)
	m := member.Member{
		ID: id, UserName: string(id), Role: member.RoleOwner, Source: member.SourceLocal,
		Wish: true, Accepted: true, Epoch: 1, Version: 1, Created: now, Modified: now,
	}
	if change != nil {
		change(&m)
	}
	return m
}

func insertMembers(t *testing.T, d *DB, ms ...member.Member) {
	t.Helper()
	for _, m := range ms {
		if err := d.Update(t.Context(), func(tx member.Tx) error { return tx.InsertMember(m) }); err != nil {
			t.Fatal(err)
		}
	}
}

func happened(kind string) audit.Event {
	return audit.Event{Kind: kind, Outcome: audit.Allowed, Actor: "cli", Target: "member:ana"}
}

func TestCredentialsAreSetByALinkOnce(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		ctx, now := t.Context(), time.Now().UTC().Truncate(time.Millisecond)
		insertMembers(t, d, person("ana", nil), person("bo", nil))
		if _, err := d.Credential(ctx, "ana"); !errors.Is(err, member.ErrNotFound) {
			t.Errorf("nobody has set one: %v", err)
		}
		link := local.Link{Hash: "h1", Member: "ana", Purpose: local.Setup, Created: now, Expires: now.Add(time.Hour)}
		if err := d.InsertLink(ctx, link, happened("credential.link")); err != nil {
			t.Fatal(err)
		}
		for name, tc := range map[string]struct {
			hash string
			at   time.Time
		}{"unknown": {"h2", now}, "over": {"h1", now.Add(time.Hour)}} {
			if _, err := d.Link(ctx, tc.hash, tc.at); !errors.Is(err, local.ErrLink) {
				t.Errorf("%s: %v", name, err)
			}
		}
		for range 2 { // looking uses nothing up
			if got, err := d.Link(ctx, "h1", now); err != nil || got != link {
				t.Errorf("got %+v, %v", got, err)
			}
		}
		set := local.Setting{
			Credential: local.Credential{Member: "bo", Password: "$argon2id$x", TOTP: []byte("sealed"), Step: 3, Updated: now}, Codes: []string{"c1", "c2"}, Link: "h1",
		}
		if err := d.SetCredential(ctx, set, happened("credential.set")); !errors.Is(err, local.ErrLink) {
			t.Errorf("by another member's link: %v", err)
		}
		if _, err := d.Credential(ctx, "bo"); !errors.Is(err, member.ErrNotFound) {
			t.Error("half of a refused change was kept")
		}
		set.Member = "ana"
		if err := d.SetCredential(ctx, set, happened("credential.set")); err != nil {
			t.Fatal(err)
		}
		if err := d.SetCredential(ctx, set, happened("credential.set")); !errors.Is(err, local.ErrLink) {
			t.Errorf("a link twice: %v", err)
		}
		c, err := d.Credential(ctx, "ana")
		if err != nil || c.Password != set.Password || string(c.TOTP) != "sealed" || c.Step != 3 || !c.Updated.Equal(now) {
			t.Errorf("%+v, %v", c, err)
		}
		if n, err := d.CodesLeft(ctx, "ana"); n != 2 || err != nil {
			t.Errorf("%d codes, %v", n, err)
		}
		if err := d.ReplaceCodes(ctx, "bo", []string{"c9"}, happened("credential.codes")); !errors.Is(err, member.ErrNotFound) {
			t.Errorf("codes of somebody without a password: %v", err)
		}
		if err := d.ReplaceCodes(ctx, "ana", []string{"c3"}, happened("credential.codes")); err != nil {
			t.Error(err)
		}
		if n, _ := d.CodesLeft(ctx, "ana"); n != 1 {
			t.Errorf("%d codes", n)
		}
	})
}

func TestALaterLinkEndsAnEarlierOne(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		ctx, now := t.Context(), time.Now().UTC()
		insertMembers(t, d, person("ana", nil))
		for _, h := range []string{"h1", "h2"} {
			l := local.Link{Hash: h, Member: "ana", Purpose: local.Reset, Created: now, Expires: now.Add(time.Hour)}
			if err := d.InsertLink(ctx, l, happened("credential.link")); err != nil {
				t.Fatal(err)
			}
		}
		if _, err := d.Link(ctx, "h1", now); !errors.Is(err, local.ErrLink) {
			t.Errorf("the first: %v", err)
		}
		if _, err := d.Link(ctx, "h2", now); err != nil {
			t.Errorf("the second: %v", err)
		}
		if err := d.InsertLink(ctx, local.Link{Hash: "h3", Member: "ana", Expires: now.Add(time.Hour)}, happened("credential.link")); err == nil {
			t.Error("a link without a purpose")
		}
	})
}

// I02: each code and each step opens once, however many try it at once.
func TestI02CodesAreRedeemedOnce(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		ctx, now := t.Context(), time.Now().UTC()
		insertMembers(t, d, person("ana", nil))
		set := local.Setting{Credential: local.Credential{Member: "ana", Password: "$p", TOTP: []byte("sealed"), Updated: now}, Codes: []string{"c1"}}
		if err := d.SetCredential(ctx, set, happened("credential.set")); err != nil {
			t.Fatal(err)
		}
		if ok, err := d.Holds(ctx, "ana", "c1"); !ok || err != nil {
			t.Errorf("the code before: %v, %v", ok, err)
		}
		for name, r := range map[string]local.Redemption{
			"a code":         {Member: "ana", Password: "$p", Code: "c1"},
			"a step of TOTP": {Member: "ana", Password: "$p", Step: 7},
		} {
			var wg sync.WaitGroup
			var mu sync.Mutex
			won := 0
			for i := range 8 {
				wg.Go(func() {
					r := r
					r.Use = local.Use{ID: name + string(rune('a'+i)), Member: "ana", UserName: "ana", At: now, Factor: "totp"}
					err := d.Redeem(ctx, r, happened("fallback.signin"))
					mu.Lock()
					defer mu.Unlock()
					if err == nil {
						won++
					} else if !errors.Is(err, local.ErrUsed) {
						t.Errorf("%s: %v", name, err)
					}
				})
			}
			wg.Wait()
			if won != 1 {
				t.Errorf("%s: %d got in", name, won)
			}
		}
		if ok, err := d.Holds(ctx, "ana", "c1"); ok || err != nil {
			t.Errorf("the code afterwards: %v, %v", ok, err)
		}
		for name, r := range map[string]local.Redemption{
			"an earlier step":                   {Member: "ana", Password: "$p", Step: 6},
			"a password that was changed since": {Member: "ana", Password: "$old", Step: 9},
			"somebody else's":                   {Member: "bo", Password: "$p", Step: 9},
			"nothing":                           {},
		} {
			r.Use = local.Use{ID: name, At: now}
			if err := d.Redeem(ctx, r, happened("fallback.signin")); !errors.Is(err, local.ErrUsed) {
				t.Errorf("%s: %v", name, err)
			}
		}
		uses, err := d.FallbackUses(ctx)
		if err != nil || len(uses) != 2 {
			t.Fatalf("%d uses, %v", len(uses), err)
		}
		if err := d.AcknowledgeFallback(ctx, uses[0].ID, member.Actor{Name: "member:bo"}, now); err != nil {
			t.Fatal(err)
		}
		if err := d.AcknowledgeFallback(ctx, uses[0].ID, member.Actor{Name: "member:bo"}, now); !errors.Is(err, member.ErrNotFound) {
			t.Errorf("twice: %v", err)
		}
		if rest, _ := d.FallbackUses(ctx); len(rest) != 1 || rest[0].ID != uses[1].ID {
			t.Errorf("%+v", rest)
		}
	})
}

func TestI02CountersLoseNoFailure(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		ctx, now := t.Context(), time.Now().UTC().Truncate(time.Millisecond)
		names := [][]string{{"account", "address"}, {"address", "account"}} // no circle of waiting
		var wg sync.WaitGroup
		for i := range 20 {
			wg.Go(func() {
				if err := d.Count(ctx, names[i%2], func(cs []local.Counter) {
					for i := range cs {
						cs[i].Failures, cs[i].Last = cs[i].Failures+1, now
					}
				}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		check := func(want int, last time.Time) {
			t.Helper()
			if err := d.Count(ctx, names[0], func(cs []local.Counter) {
				for _, c := range cs {
					if c.Failures != want || !c.Last.Equal(last) {
						t.Errorf("%+v, want %d at %s", c, want, last)
					}
				}
			}); err != nil {
				t.Error(err)
			}
		}
		check(20, now)
		if err := d.SweepLocal(ctx, now); err != nil {
			t.Error(err)
		}
		check(20, now)
		if err := d.SweepLocal(ctx, now.Add(time.Millisecond)); err != nil {
			t.Error(err)
		}
		check(0, time.Time{})
	})
}

func TestOwnersAreThoseWhoAreAdmitted(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		insertMembers(t, d, person("ana", nil), person("gone", func(m *member.Member) { m.Suspended = true }),
			person("new", func(m *member.Member) { m.Accepted = false }), person("bo", func(m *member.Member) { m.Role = member.RoleManager }))
		got, err := d.Owners(t.Context())
		if err != nil || len(got) != 1 || got[0].ID != "ana" {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func TestCredentialsGoWithTheirMember(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		ctx := t.Context()
		insertMembers(t, d, person("ana", nil))
		set := local.Setting{Credential: local.Credential{Member: "ana", Password: "$p"}, Codes: []string{"c1"}}
		if err := d.SetCredential(ctx, set, happened("credential.set")); err != nil {
			t.Fatal(err)
		}
		if err := d.Update(ctx, func(tx member.Tx) error { return tx.DeleteMember("ana", 1) }); err != nil {
			t.Fatal(err)
		}
		_, err := d.Credential(ctx, "ana")
		if n, cerr := d.CodesLeft(ctx, "ana"); !errors.Is(err, member.ErrNotFound) || n != 0 || cerr != nil {
			t.Errorf("%v; %d codes, %v", err, n, cerr)
		}
	})
}

// What is written to somebody who is a member already is no invitation that has
// become pointless.
func TestNoticesToMembersAreSent(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		ctx, now := t.Context(), time.Now()
		insertMembers(t, d, person("ana", nil))
		if err := d.Queue(ctx, member.Mail{ID: "l1", Member: "ana", Sealed: []byte("x"), Created: now}); err != nil {
			t.Fatal(err)
		}
		if err := d.Update(ctx, func(tx member.Tx) error { return tx.DropInvitations("ana") }); err != nil {
			t.Fatal(err)
		}
		rows, err := d.ClaimMail(ctx, "c", now.Add(time.Second), time.Minute, 10, 10)
		if err != nil || len(rows) != 1 || rows[0].ID != "l1" {
			t.Errorf("%+v, %v", rows, err)
		}
	})
}
