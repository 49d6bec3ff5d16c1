package sql

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/settings"
)

func changed(p *settings.Provider) { p.GitHub.Organizations = []string{"changed"} }

func off(p *settings.Provider) { p.Active = false }

func renamed(p *settings.Provider) { p.Name = "Another name" }

func second(change func(*settings.Provider)) settings.Provider {
	return hub(func(p *settings.Provider) {
		p.ID = "second"
		if change != nil {
			change(p)
		}
	})
}

func (e *settingsEnv) required() settings.Version {
	e.t.Helper()
	now, err := e.Current(e.t.Context())
	if err == nil {
		now, err = e.SetRequireSSO(e.t.Context(), owner, now.Number, true)
	}
	if err != nil {
		e.t.Fatal(err)
	}
	return now
}

// Row I03: what the file turns on is on. An untested change would lock people out, or
// let others in, as surely as if an owner had turned it on.
func TestRowI03RequireSSOOfTheFileNeedsTestsToo(t *testing.T) {
	onSettings(t, func(e *settingsEnv) {
		ctx := e.t.Context()
		v := e.publish(0, with(hub(nil)))
		e.fixed, e.on = true, true
		for _, tc := range []struct {
			name    string
			p       settings.Provider
			refused bool
			why     string
		}{
			{"a changed organisation", hub(changed), true, "other people could sign in, and nobody has tried"},
			{"a new name", hub(renamed), false, "benign: a name decides nothing"},
			{"switched off", hub(off), false, "benign: nobody signs in through it"},
		} {
			d, err := e.Save(ctx, owner, v.Number, "", with(tc.p, second(off)))
			if err != nil {
				t.Fatal(err)
			}
			e.file = []settings.Provider{{ID: "okta", Active: true}}
			next, err := e.Publish(ctx, owner, d.Number)
			var r *settings.RefusedError
			if errors.As(err, &r) != tc.refused || (err != nil) != tc.refused {
				t.Errorf("%s: %v (%s)", tc.name, err, tc.why)
			}
			if err == nil {
				v = next
			}
		}
		e.on = false // the file says off: nobody depends on it
		e.publish(v.Number, with(hub(changed)))
	})
}

// Row I03: every provider that stays active, also those that the file declares.
func TestRowI03ProvidersOfTheFileNeedATestToo(t *testing.T) {
	onSettings(t, func(e *settingsEnv) {
		e.fallbackOwner()
		e.file = []settings.Provider{second(nil)}
		v := e.publish(0, with(hub(nil)))
		e.passed(hub(nil), true)
		var r *settings.RefusedError
		if _, err := e.SetRequireSSO(e.t.Context(), owner, v.Number, true); !errors.As(err, &r) || len(r.Reasons) != 1 || !strings.Contains(r.Reasons[0], "second") {
			t.Errorf("the file's provider is untested: %v", err)
		}
		e.passed(second(nil), true)
		e.required()
	})
}

// A provider that is not to be trusted any more is switched off whatever became of
// another one's last test, and confirming does not ask for what was asked already.
func TestWhatAChangeLeavesAloneDoesNotHoldItUp(t *testing.T) {
	onSettings(t, func(e *settingsEnv) {
		ctx := e.t.Context()
		e.fallbackOwner()
		e.publish(0, with(hub(nil), second(nil)))
		e.passed(hub(nil), true)
		e.passed(second(nil), true)
		on := e.required()
		e.passed(hub(nil), false) // somebody tries again and gives the wrong password
		if _, err := e.Apply(ctx, owner, on.Number, "", with(hub(nil), second(off))); err != nil {
			t.Fatalf("switched off: %v", err)
		}
		v, err := e.Confirm(ctx, owner)
		if err != nil {
			t.Fatalf("confirmed: %v", err)
		}
		var r *settings.RefusedError
		if _, err := e.Apply(ctx, owner, v.Number, "", with(hub(off), second(off))); !errors.As(err, &r) {
			t.Errorf("G5: the last one is switched off while it is on: %v", err)
		}
		e.passed(second(nil), false)
		if _, err := e.Apply(ctx, owner, v.Number, "", with(hub(nil), second(nil))); !errors.As(err, &r) {
			t.Errorf("switched on with a failed test: %v", err)
		}
	})
}

// G5: a provider whose id the file declares later is not used. It must not keep
// Require SSO from being turned off or from reverting, nor anything else from changing.
func TestGuaranteeAShadowedProviderHoldsNothingUp(t *testing.T) {
	onSettings(t, func(e *settingsEnv) {
		ctx := e.t.Context()
		e.fallbackOwner()
		e.publish(0, with(hub(nil)))
		e.passed(hub(nil), true)
		e.required()
		e.file = []settings.Provider{hub(renamed)}
		e.clock.Advance(10 * time.Minute)
		if did, err := e.Revert(ctx); !did || err != nil {
			t.Fatalf("reverted: %t %v", did, err)
		}
		on := e.required()
		v, err := e.SetRequireSSO(ctx, owner, on.Number, false)
		if err != nil || v.Stored.RequireSSO {
			t.Fatalf("turned off: %+v %v", v, err)
		}
		merged := settings.Merge(settings.Settings{Providers: e.file}, nil, v)
		if len(merged.Providers) != 1 || merged.Providers[0].Name != "Another name" || !merged.Providers[0].Managed || len(merged.Shadowed) != 1 {
			t.Errorf("the file does not win: %+v", merged)
		}
		var invalid *settings.InvalidError
		if _, err := e.Save(ctx, owner, v.Number, "", with(hub(changed))); !errors.As(err, &invalid) {
			t.Errorf("a change of it: %v", err)
		}
		if _, err := e.Apply(ctx, owner, v.Number, "", with()); err != nil {
			t.Errorf("benign: deleted: %v", err)
		}
	})
}

// What was refused must not lie about as a draft: published a week later it would end
// everybody's sessions, and revert at once.
func TestARefusedSwitchLeavesNoDraft(t *testing.T) {
	onSettings(t, func(e *settingsEnv) {
		v := e.publish(0, with(hub(nil)))
		if _, err := e.SetRequireSSO(e.t.Context(), owner, v.Number, true); err == nil {
			t.Fatal("turned on without a test")
		}
		if list, err := e.List(e.t.Context()); err != nil || len(list) != 1 {
			t.Errorf("%+v %v", list, err)
		}
	})
}

// Turning on what is on does not put the ten minutes off: two owners who take turns
// would never be asked to prove that it works.
func TestTurnedOnTwiceEndsWhenItWould(t *testing.T) {
	onSettings(t, func(e *settingsEnv) {
		e.fallbackOwner()
		e.publish(0, with(hub(nil)))
		e.passed(hub(nil), true)
		first := e.required()
		e.clock.Advance(5 * time.Minute)
		if again := e.required(); !again.Stored.ConfirmBy.Equal(first.Stored.ConfirmBy) {
			t.Errorf("first until %v, then until %v", first.Stored.ConfirmBy, again.Stored.ConfirmBy)
		}
	})
}

// Fault 28, at the same time: every draft gets a number of its own, and of those that
// are published at once one is, and the others are told by whom.
func TestFault28ManyOwnersAtOnce(t *testing.T) {
	onSettings(t, func(e *settingsEnv) {
		ctx := e.t.Context()
		const n = 8
		numbers, errs := make([]int64, n), make([]error, n)
		var wg sync.WaitGroup
		for i := range n {
			wg.Go(func() {
				by := member.Actor{Name: fmt.Sprintf("member:%d", i)}
				v, err := e.Save(ctx, by, 0, "", with(hub(func(p *settings.Provider) { p.Name = by.Name })))
				if err != nil {
					t.Errorf("saved: %v", err)
					return
				}
				numbers[i] = v.Number
			})
		}
		wg.Wait()
		for i := range n {
			wg.Go(func() { _, errs[i] = e.Publish(ctx, owner, numbers[i]) })
		}
		wg.Wait()
		seen, won := map[int64]bool{0: true}, 0
		for i := range n {
			if seen[numbers[i]] {
				t.Errorf("number %d twice", numbers[i])
			}
			seen[numbers[i]] = true
			conflict, lost := errors.AsType[*settings.ConflictError](errs[i])
			switch {
			case errs[i] == nil:
				won++
			case !lost || conflict.Latest == 0 || conflict.Author == "":
				t.Errorf("lost: %v", errs[i])
			}
		}
		if won != 1 {
			t.Errorf("%d were published", won)
		}
	})
}

// A node that is replaced last may read what a newer one wrote.
func TestSettingsOfANewerVersionAreNotHalfRead(t *testing.T) {
	onSettings(t, func(e *settingsEnv) {
		e.publish(0, with(hub(nil)))
		err := e.db.UpdateSettings(e.t.Context(), func(tx settings.Tx) error {
			r, err := tx.LatestVersion(settings.Published)
			if err != nil {
				return err
			}
			plain, err := e.Sealer.Open(r.Sealed, settings.SealContext(r.Number))
			if err != nil {
				return err
			}
			var body map[string]any
			if err := json.Unmarshal(plain, &body); err != nil {
				return err
			}
			body["OnlyFromNetworks"] = []string{"192.0.2.0/24"}
			if plain, err = json.Marshal(body); err != nil {
				return err
			}
			r.Number, r.State = 2, settings.Draft
			r.Sealed = e.Sealer.Seal(plain, settings.SealContext(2))
			return tx.InsertVersion(r)
		})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := e.Get(e.t.Context(), 2); err == nil || !strings.Contains(err.Error(), "another version of ssogate") {
			t.Errorf("a restriction that this ssogate does not know was dropped: %v", err)
		}
		if _, err := e.Get(e.t.Context(), 1); err != nil {
			t.Errorf("benign: its own: %v", err)
		}
	})
}

// A SAML provider may be known by its metadata alone at first; once it is named, that
// stays, also after it is deleted.
func TestTheNameOfASAMLProviderStaysOnceKnown(t *testing.T) {
	onSettings(t, func(e *settingsEnv) {
		ctx := e.t.Context()
		okta := func(s settings.SAMLProvider) settings.Provider {
			return settings.Provider{ID: "okta", Protocol: settings.SAML, Join: member.JoinInvitation, Active: true, SAML: s}
		}
		named := okta(settings.SAMLProvider{EntityID: "https://idp.example.com", SSOURL: "https://idp.example.com/sso", Certificates: []string{"x"}})
		v := e.publish(0, with(okta(settings.SAMLProvider{MetadataURL: "https://idp.example.com/metadata"})))
		v = e.publish(v.Number, with(named))
		v = e.publish(v.Number, with())
		other := named
		other.SAML.EntityID = "https://other.example.com"
		var invalid *settings.InvalidError
		if _, err := e.Save(ctx, owner, v.Number, "", with(other)); !errors.As(err, &invalid) {
			t.Errorf("G6: its id was given to another identity provider: %v", err)
		}
		if _, err := e.Save(ctx, owner, v.Number, "", with(named)); err != nil {
			t.Errorf("benign: the same again: %v", err)
		}
	})
}

// The audit event of a change says what changed, and of a secret only that it did.
func TestThePublishedEventTellsTheDifference(t *testing.T) {
	onSettings(t, func(e *settingsEnv) {
		v := e.publish(0, with(hub(nil)))
		e.publish(v.Number, with(hub(func(p *settings.Provider) {
			changed(p)
			p.OIDC.ClientSecret = "another-secret-0123456789"
		})))
		rows, err := e.db.reads.QueryContext(e.t.Context(), "SELECT detail FROM audit WHERE kind IN ('settings.published', 'settings.saved') ORDER BY seq")
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		all, last := "", ""
		for rows.Next() {
			if err := rows.Scan(&last); err != nil {
				t.Fatal(err)
			}
			all += last
		}
		if err := rows.Err(); err != nil {
			t.Fatal(err)
		}
		var detail map[string]string
		if err := json.Unmarshal([]byte(last), &detail); err != nil {
			t.Fatalf("%q: %v", last, err)
		}
		if got := detail["providers.hub.gitHub.organizations"]; got != `["acme"] -> ["changed"]` {
			t.Errorf("%q in %v", got, detail)
		}
		if strings.Contains(all, clientSecret) || strings.Contains(all, "another-secret") || !strings.Contains(detail["providers.hub.oidc.clientSecret"], "changed") {
			t.Errorf("U05: %s", all)
		}
	})
}
