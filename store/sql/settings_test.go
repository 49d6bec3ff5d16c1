package sql

import (
	"bytes"
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/member/membertest"
	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso/local"
)

const clientSecret = "Zk3v0Qw8RtYu1PlMn5BsXa"

var errBusy = errors.New("not every node")

type settingsEnv struct {
	*settings.Manager
	t     *testing.T
	db    *DB
	clock *clock.Manual
	file  []settings.Provider
	fixed bool // the file decides require_sso
	on    bool // and how
	wait  *membertest.Revoker
}

var owner = member.Actor{Name: "member:owner"}

func onSettings(t *testing.T, test func(e *settingsEnv)) {
	onEngines(t, func(t *testing.T, d *DB) {
		sealer, err := secret.NewSealer(bytes.Repeat([]byte{7}, 32))
		if err != nil {
			t.Fatal(err)
		}
		e := &settingsEnv{t: t, db: d, clock: &clock.Manual{}, wait: &membertest.Revoker{}}
		e.Manager = &settings.Manager{
			Store: d, Sealer: sealer, Revoker: e.wait, Now: e.clock.Now,
			File: func() ([]settings.Provider, error) { return e.file, nil }, Managed: func() (bool, bool) { return e.on, e.fixed },
		}
		test(e)
	})
}

func hub(change func(*settings.Provider)) settings.Provider {
	p := settings.Provider{
		ID: "hub", Name: "GitHub", Protocol: settings.GitHub, Join: member.JoinIDP, Active: true,
		OIDC:   settings.OIDCProvider{ClientID: "Iv1", ClientSecret: clientSecret},
		GitHub: settings.GitHubProvider{BaseURL: "https://github.com", Organizations: []string{"acme"}},
	}
	if change != nil {
		change(&p)
	}
	return p
}

func with(ps ...settings.Provider) func(*settings.Stored) error {
	return func(s *settings.Stored) error { s.Providers = ps; return nil }
}

func (e *settingsEnv) publish(base int64, change func(*settings.Stored) error) settings.Version {
	e.t.Helper()
	v, err := e.Save(e.t.Context(), owner, base, "", change)
	if err != nil {
		e.t.Fatal(err)
	}
	if v, err = e.Publish(e.t.Context(), owner, v.Number); err != nil {
		e.t.Fatal(err)
	}
	return v
}

func (e *settingsEnv) passed(p settings.Provider, passed bool) {
	e.t.Helper()
	if err := e.Record(e.t.Context(), settings.Result{Provider: p.ID, Digest: settings.Digest(p), Passed: passed, By: "cli"}); err != nil {
		e.t.Fatal(err)
	}
}

func (e *settingsEnv) fallbackOwner() {
	e.t.Helper()
	err := e.db.Update(e.t.Context(), func(tx member.Tx) error {
		return tx.InsertMember(member.Member{
			ID: "m-owner", UserName: "owner", Role: member.RoleOwner, Source: member.SourceLocal, Fallback: true,
			Wish: true, Accepted: true, Epoch: 1, Version: 1, Created: e.clock.Now(), Modified: e.clock.Now(),
		})
	})
	if err != nil {
		e.t.Fatal(err)
	}
	set := local.Setting{Credential: local.Credential{Member: "m-owner", Password: "$argon2id$"}, Codes: []string{"c1"}}
	if err := e.db.SetCredential(e.t.Context(), set, audit.Event{Kind: "credential.set", Outcome: audit.Allowed, Actor: "cli"}); err != nil {
		e.t.Fatal(err)
	}
}

// rows are those of the revocation log, as "kind scope target".
func (e *settingsEnv) rows() (out []string) {
	e.t.Helper()
	rs, err := e.db.Revocations(e.t.Context(), 0, 1000)
	if err != nil {
		e.t.Fatal(err)
	}
	for _, r := range rs {
		out = append(out, strings.TrimSpace(string(r.Kind)+" "+string(r.Scope)+" "+r.Target))
	}
	return out
}

func TestADraftTouchesNothingUntilItIsPublished(t *testing.T) {
	onSettings(t, func(e *settingsEnv) {
		ctx := e.t.Context()
		if v, err := e.Current(ctx); err != nil || v.Number != 0 {
			t.Fatalf("before anything: %+v %v", v, err)
		}
		draft, err := e.Save(ctx, owner, 0, "first", with(hub(nil)))
		if err != nil || draft.State != settings.Draft || draft.Number != 1 {
			t.Fatalf("%+v %v", draft, err)
		}
		if v, err := e.Current(ctx); err != nil || v.Number != 0 || len(e.rows()) != 0 {
			t.Fatalf("a draft is live: %+v %v %v", v, err, e.rows())
		}
		v, err := e.Publish(ctx, owner, 1)
		if err != nil || v.State != settings.Published {
			t.Fatalf("%+v %v", v, err)
		}
		got, err := e.Current(ctx)
		if err != nil || got.Number != 1 || got.Stored.Providers[0].OIDC.ClientSecret != clientSecret || got.Comment != "first" {
			t.Fatalf("%+v %v", got, err)
		}
		if want := []string{"end provider hub", "reload all settings"}; !slices.Equal(e.rows(), want) {
			t.Errorf("rows %q, want %q", e.rows(), want)
		}
		if s, err := (&member.Directory{Store: e.db}).Snapshot(ctx, "none", member.SessionRef{}); !errors.Is(err, member.ErrNotFound) || s.Settings != 0 {
			t.Errorf("%v", err)
		}
		err = e.db.View(ctx, func(tx member.Tx) error {
			n, err := tx.SettingsVersion()
			if n != settings.LiveVersion(1) {
				t.Errorf("C11: nodes with an older copy must see %d, not %d", settings.LiveVersion(1), n)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		// C2: after an error of the barrier a retry waits again, for no less.
		e.wait.Take()
		e.wait.Fail(errBusy)
		if _, err := e.Publish(ctx, owner, 1); !errors.Is(err, errBusy) {
			t.Errorf("a retry while nodes do not confirm: %v", err)
		}
		e.wait.Fail(nil)
		if v, err := e.Publish(ctx, owner, 1); err != nil || v.Number != 1 {
			t.Errorf("a retry: %+v %v", v, err)
		}
		if seqs := e.wait.Take(); !slices.Equal(seqs, []int64{2, 2}) {
			t.Errorf("waited for %v", seqs)
		}
		e.publish(1, with())
		if _, err := e.Publish(ctx, owner, 1); !errors.Is(err, settings.ErrNotDraft) {
			t.Errorf("one that was in effect once: %v", err)
		}
		if _, err := e.Publish(ctx, owner, 99); !errors.Is(err, settings.ErrNotFound) {
			t.Errorf("none: %v", err)
		}
	})
}

// Fault 28: two owners edit at once.
func TestFault28TwoOwnersPublishOneWins(t *testing.T) {
	onSettings(t, func(e *settingsEnv) {
		ctx := e.t.Context()
		a, err := e.Save(ctx, owner, 0, "", with(hub(nil)))
		if err != nil {
			t.Fatal(err)
		}
		b, err := e.Save(ctx, member.Actor{Name: "member:other"}, 0, "", with(hub(func(p *settings.Provider) { p.Name = "Other" })))
		if err != nil {
			t.Fatal(err)
		}
		errs := make([]error, 2)
		var wg sync.WaitGroup
		for i, n := range []int64{a.Number, b.Number} {
			wg.Go(func() { _, errs[i] = e.Publish(ctx, owner, n) })
		}
		wg.Wait()
		var conflict *settings.ConflictError
		lost := 0
		for _, err := range errs {
			if errors.As(err, &conflict) {
				lost++
			} else if err != nil {
				t.Errorf("whoever loses is told by whom, not %v", err)
			}
		}
		now, err := e.Current(ctx)
		if err != nil || lost != 1 {
			t.Fatalf("%d lost, %v %v", lost, errs, err)
		}
		if _, err := e.Save(ctx, owner, 0, "", with()); !errors.As(err, &conflict) || conflict.Latest != now.Number || conflict.Author == "" {
			t.Errorf("saved on what is no longer in effect: %v", err)
		}
	})
}

func TestDisablingOrDeletingAProviderEndsItsSessions(t *testing.T) {
	onSettings(t, func(e *settingsEnv) {
		v := e.publish(0, with(hub(nil)))
		before := len(e.rows())
		v = e.publish(v.Number, with(hub(func(p *settings.Provider) { p.Name = "renamed" })))
		if slices.Contains(e.rows()[before:], "end provider hub") {
			t.Fatal("a new name ended sessions")
		}
		v = e.publish(v.Number, with(hub(func(p *settings.Provider) { p.Active = false })))
		rows := e.rows()
		if n := len(rows); rows[n-2] != "end provider hub" || rows[n-1] != "reload all settings" {
			t.Errorf("rows %q", rows)
		}
		// What raced the switching off must not come alive with it.
		v = e.publish(v.Number, with(hub(nil)))
		if rows = e.rows(); rows[len(rows)-2] != "end provider hub" {
			t.Errorf("switched on again: rows %q", rows)
		}
		e.publish(v.Number, with())
		rows = e.rows()
		if n := len(rows); rows[n-2] != "end provider hub" {
			t.Errorf("deleted: rows %q", rows)
		}
	})
}

func TestWhatIsFixedAtTheFirstSaveStays(t *testing.T) {
	onSettings(t, func(e *settingsEnv) {
		v := e.publish(0, with(hub(nil)))
		v = e.publish(v.Number, with()) // deleted: its accounts are still keyed by its id
		e.file = []settings.Provider{{ID: "okta", Active: true}}
		for why, p := range map[string]settings.Provider{
			"another protocol": hub(func(p *settings.Provider) { p.Protocol = settings.OIDC; p.OIDC.Issuer = "https://id.example.com" }),
			"another GitHub":   hub(func(p *settings.Provider) { p.GitHub.BaseURL = "https://ghe.example.com" }),
			"of the file":      hub(func(p *settings.Provider) { p.ID = "okta" }),
			"no id":            hub(func(p *settings.Provider) { p.ID = "" }),
		} {
			var invalid *settings.InvalidError
			if _, err := e.Save(e.t.Context(), owner, v.Number, "", with(p)); !errors.As(err, &invalid) {
				t.Errorf("%s: %v", why, err)
			}
		}
		if _, err := e.Save(e.t.Context(), owner, v.Number, "", with(hub(nil), hub(nil))); err == nil {
			t.Error("two of one id")
		}
		if _, err := e.Save(e.t.Context(), owner, v.Number, "", with(hub(nil))); err != nil {
			t.Errorf("benign: the same once more: %v", err)
		}
	})
}

// Row I03.
func TestRowI03RequireSSONeedsProof(t *testing.T) {
	onSettings(t, func(e *settingsEnv) {
		ctx := e.t.Context()
		v := e.publish(0, with(hub(nil)))
		refused := func(why string, want ...string) {
			t.Helper()
			var r *settings.RefusedError
			_, err := e.SetRequireSSO(ctx, owner, v.Number, true)
			if !errors.As(err, &r) || len(r.Reasons) != len(want) {
				t.Fatalf("%s: %v", why, err)
			}
			for i, w := range want {
				if !strings.Contains(r.Reasons[i], w) {
					t.Errorf("%s: %q, want %q", why, r.Reasons[i], w)
				}
			}
		}
		refused("nothing", "was not tested", "fallback owner")
		e.fallbackOwner()
		refused("no test", "was not tested")
		e.passed(hub(func(p *settings.Provider) { p.GitHub.Organizations = []string{"other"} }), true)
		refused("a test of another configuration", "was not tested")
		e.passed(hub(nil), true)
		e.passed(hub(nil), false)
		refused("the last test failed", "failed")
		e.passed(hub(nil), true)
		on, err := e.SetRequireSSO(ctx, owner, v.Number, true)
		if err != nil || !on.Stored.RequireSSO || on.Stored.ConfirmBy.IsZero() {
			t.Fatalf("%+v %v", on, err)
		}
		if !slices.Contains(e.rows(), "end all") {
			t.Errorf("old sessions go on: %q", e.rows())
		}
		// While it is on nothing untested is put into effect; what is not tested is cosmetic.
		d, err := e.Save(ctx, owner, on.Number, "", with(hub(func(p *settings.Provider) { p.OIDC.ClientID = "Iv2" })))
		if err != nil {
			t.Fatal(err)
		}
		var r *settings.RefusedError
		if _, err := e.Publish(ctx, owner, d.Number); !errors.As(err, &r) {
			t.Errorf("an untested change: %v", err)
		}
		e.publish(on.Number, with(hub(func(p *settings.Provider) { p.Name = "New name" })))
		e.fixed = true
		var invalid *settings.InvalidError
		if _, err := e.SetRequireSSO(ctx, owner, 0, false); !errors.As(err, &invalid) {
			t.Errorf("fixed by the file: %v", err)
		}
	})
}

// G5: what nobody confirms reverts by itself.
func TestGuaranteeRequireSSORevertsUnconfirmed(t *testing.T) {
	onSettings(t, func(e *settingsEnv) {
		ctx := e.t.Context()
		e.fallbackOwner()
		e.passed(hub(nil), true)
		turnOn := func() settings.Version {
			now, err := e.Current(ctx)
			if err == nil {
				now, err = e.SetRequireSSO(ctx, owner, now.Number, true)
			}
			if err != nil {
				t.Fatal(err)
			}
			return now
		}
		e.publish(0, with(hub(nil)))
		turnOn()
		if did, err := e.Revert(ctx); did || err != nil {
			t.Fatalf("too early: %t %v", did, err)
		}
		e.clock.Advance(10 * time.Minute)
		var r *settings.RefusedError
		if _, err := e.Confirm(ctx, owner); !errors.As(err, &r) {
			t.Errorf("confirmed too late: %v", err)
		}
		var wg sync.WaitGroup
		var mu sync.Mutex
		done := 0
		for range 4 { // every node tries
			wg.Go(func() {
				did, err := e.Revert(context.Background())
				if err != nil {
					t.Errorf("%v", err)
				}
				mu.Lock()
				defer mu.Unlock()
				if did {
					done++
				}
			})
		}
		wg.Wait()
		if now, err := e.Current(ctx); err != nil || now.Stored.RequireSSO || len(now.Stored.Providers) != 1 || done != 1 {
			t.Fatalf("%+v %v, %d did it", now, err, done)
		}
		turnOn()
		if v, err := e.Confirm(ctx, owner); err != nil || !v.Stored.RequireSSO || !v.Stored.ConfirmBy.IsZero() {
			t.Fatalf("%+v %v", v, err)
		}
		e.clock.Advance(time.Hour)
		if did, err := e.Revert(ctx); did || err != nil {
			t.Errorf("a confirmed one: %t %v", did, err)
		}
	})
}

func TestRestoreMakesADraftOfWhatWas(t *testing.T) {
	onSettings(t, func(e *settingsEnv) {
		ctx := e.t.Context()
		first := e.publish(0, with(hub(nil)))
		second := e.publish(first.Number, with(hub(func(p *settings.Provider) {
			p.GitHub.Organizations, p.OIDC.ClientSecret = []string{"other"}, "another-secret-0123"
		})))
		d := settings.Diff(first.Stored, second.Stored)
		if len(d) != 2 || d[0].Path != "providers.hub.gitHub.organizations" || d[1].Path != "providers.hub.oidc.clientSecret" || !strings.Contains(d[1].New, "changed") {
			t.Errorf("%+v", d)
		}
		for _, x := range d {
			if strings.Contains(x.Old+x.New, clientSecret) || strings.Contains(x.New, "another-secret") {
				t.Errorf("U05: %+v", x)
			}
		}
		v, err := e.Restore(ctx, owner, second.Number, first.Number)
		if err != nil || v.State != settings.Draft || len(settings.Diff(v.Stored, first.Stored)) != 0 {
			t.Fatalf("%+v %v", v, err)
		}
		if _, err := e.Publish(ctx, owner, v.Number); err != nil {
			t.Fatal(err)
		}
		if list, err := e.List(ctx); err != nil || len(list) != 3 || list[0].State != settings.Published || list[1].State != settings.Superseded {
			t.Errorf("%+v %v", list, err)
		}
		if _, err := e.Restore(ctx, owner, v.Number, 77); !errors.Is(err, settings.ErrNotFound) {
			t.Errorf("%v", err)
		}
	})
}

func TestSecretsOfSettingsAreSealedAtRest(t *testing.T) {
	onSettings(t, func(e *settingsEnv) {
		ctx := e.t.Context()
		e.publish(0, with(hub(nil)))
		found := 0
		err := e.db.EachSealed(ctx, func(s Sealed) error {
			if s.Table == "settings_versions" {
				found++
				if bytes.Contains(s.Value, []byte(clientSecret)) {
					t.Error("a client secret lies in the database")
				}
				if _, err := e.Sealer.Open(s.Value, s.Context); err != nil {
					t.Errorf("keys rotate --seal could not read it: %v", err)
				}
			}
			return nil
		})
		if err != nil || found != 1 {
			t.Errorf("%d versions, %v", found, err)
		}
		other, _ := secret.NewSealer(bytes.Repeat([]byte{9}, 32))
		e.Sealer = other
		if _, err := e.Current(ctx); err == nil || !strings.Contains(err.Error(), "seal_key_previous") {
			t.Errorf("another key: %v", err)
		}
	})
}
