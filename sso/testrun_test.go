package sso_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso"
)

// tested is a world whose configurations can be tested: those of the live settings
// under the digest "live", and a draft of okta under "draft".
func tested(t *testing.T) (w *world, draft *provider, results *kept) {
	t.Helper()
	results = &kept{}
	w = newWorld(t, func(o *sso.Options) {
		providers := o.Providers
		o.Results = results
		o.TestProviders = func(id, digest string) (sso.Provider, settings.Provider, bool) {
			if digest == "draft" && id == "okta" {
				return draft, settings.Provider{ID: "okta", Protocol: settings.SAML, Join: member.JoinIDP, Preset: settings.Okta, Active: true}, true
			}
			s, ok := o.Live.Load().Provider(id)
			return providers(id), s, ok && digest == "live"
		}
	})
	draft = &provider{info: sso.Info{ID: "okta", Name: "Okta", Protocol: "saml"}, world: w}
	return w, draft, results
}

// kept are results of tests.
type kept struct{ list []settings.Result }

func (k *kept) Record(_ context.Context, r settings.Result) error {
	k.list = append(k.list, r)
	return nil
}

func (w *world) beginTest(provider, digest string) sso.TestStart {
	w.t.Helper()
	s, err := w.flow.Tests().Begin(w.t.Context(), "cli:op", provider, digest)
	if err != nil {
		w.t.Fatal(err)
	}
	return s
}

func (w *world) report(s sso.TestStart) sso.Report {
	w.t.Helper()
	r, err := w.flow.Tests().Report(w.t.Context(), s.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	return r
}

func checkOf(r sso.Report, name string) sso.Check {
	for _, c := range r.Checks {
		if c.Name == name && c.Verdict != sso.Pass {
			return c
		}
	}
	for _, c := range r.Checks {
		if c.Name == name {
			return c
		}
	}
	return sso.Check{}
}

// untouched wants that no session, member, link or cookie came of a test.
func (w *world) untouched(b *browser) {
	w.t.Helper()
	if n := w.store.Len(); n != 0 {
		w.t.Errorf("S30: a test made %d sessions", n)
	}
	if b.cookie(gateway, "gateway-session") != "" {
		w.t.Error("S30: a test set a session cookie")
	}
	if _, err := w.dir.Lookup(w.t.Context(), "ana"); !errors.Is(err, member.ErrNotFound) {
		w.t.Errorf("S30: a test made a member: %v", err)
	}
	if n := w.audit.count("signin"); n != 0 {
		w.t.Errorf("S30: %d sign-ins audited", n)
	}
}

func TestATestEndsInAReportAndInNothingElseS30(t *testing.T) {
	for _, provider := range []string{"okta", "keycloak"} {
		w, _, results := tested(t)
		s := w.beginTest(provider, "live")
		if w.report(s).Done() {
			t.Fatal("done before anybody opened the link")
		}
		b := w.browser()
		a := b.open(s.URL, "ana")
		if a.StatusCode != http.StatusOK || title(a.body) != "The test passed" {
			t.Fatalf("%s: %s\n%s", provider, a.reason(), a.body)
		}
		r := w.report(s)
		if !r.Passed() || !strings.Contains(checkOf(r, "member").Evidence, `a new member "ana"`) || r.By != "cli:op" {
			t.Errorf("report %+v", r)
		}
		if len(results.list) != 1 || !results.list[0].Passed || results.list[0].Digest != "live" || results.list[0].By != "cli:op" {
			t.Errorf("results %+v", results.list)
		}
		w.untouched(b)
		if a := b.get(s.URL); a.StatusCode != http.StatusGone {
			t.Errorf("the link works twice: %s", a.reason())
		}
		if a := b.get(a.at.String()); title(a.body) != "The test passed" || len(results.list) != 1 {
			t.Errorf("a reload: %s, %d results", a.reason(), len(results.list))
		}
		if b.open(app+"/", "ana"); w.store.Len() != 1 { // the benign twin: the same browser signs in
			t.Error("a live sign-in after a test makes no session")
		}
	}
}

func TestAnswersOfOneLaneAreNothingInTheOtherS30(t *testing.T) {
	w, _, _ := tested(t)
	b := w.browser()
	at := func(a *answer) (state, req string) {
		u, err := url.Parse(a.Header.Get("Location"))
		if err != nil || u.Host != idpHost {
			t.Fatalf("not on the way to the identity provider: %s", a.reason())
		}
		return u.Query().Get("state"), u.Query().Get("req")
	}
	liveState, liveReq := at(b.get(gateway + "/login?provider=okta"))
	s := w.beginTest("okta", "live")
	testState, testReq := at(b.get(s.URL))

	// The response to the test one, presented for the live Login.
	a := b.follow(b.respond("okta", liveState, testReq, "ana"), "")
	if a.StatusCode != http.StatusForbidden {
		t.Errorf("a live Login was satisfied by the response to a test: %s", a.reason())
	}
	w.untouched(b)
	// The response to the live one, presented for the test Login: a failed report.
	a = b.follow(b.respond("okta", testState, liveReq, "ana"), "")
	if r := w.report(s); title(a.body) != "The test failed" || r.Passed() || checkOf(r, "in_response_to").Verdict != sso.Fail {
		t.Errorf("a test was satisfied by a live response: %s %+v", a.reason(), r)
	}
	w.untouched(b)
	// A test Login is no Login: neither by its id nor by its code.
	for _, u := range []string{gateway + "/login?id=" + url.QueryEscape(testState), gateway + "/complete?code=" + a.at.Query().Get("code")} {
		if a := b.get(u); a.StatusCode != http.StatusGone {
			t.Errorf("the live lane took %s: %s", u, a.reason())
		}
	}
	// Single use.
	if a := b.respond("okta", testState, testReq, "ana"); a.StatusCode != http.StatusGone {
		t.Errorf("a test Login was answered twice: %s", a.reason())
	}
	// The live Login goes on (benign twin).
	if a := b.follow(b.respond("okta", liveState, liveReq, "ana"), ""); b.cookie(gateway, "gateway-session") == "" {
		t.Errorf("the live sign-in did not go on: %s", a.reason())
	}
}

func TestADraftIsTestedBesideTheLiveOneS30(t *testing.T) {
	w, draft, results := tested(t)
	draft.refuse = &sso.VerifyError{Reason: "audience", Err: errors.New("audience \"x\"")}
	s := w.beginTest("okta", "draft")
	b := w.browser()
	if a := b.open(s.URL, "ana"); title(a.body) != "The test failed" {
		t.Fatalf("the draft's own verifier did not answer: %s", a.reason())
	}
	c := checkOf(w.report(s), "audience")
	if c.Verdict != sso.Fail || !strings.Contains(c.Fix, "Okta: SAML Settings > Audience URI") || results.list[0].Passed {
		t.Errorf("check %+v", c)
	}
	w.untouched(b)
	// Also where nothing of that id is live.
	draft.refuse = nil
	w.providers("keycloak")
	s = w.beginTest("okta", "draft")
	if a := b.open(s.URL, "ana"); title(a.body) != "The test passed" {
		t.Errorf("a draft without a live one: %s", a.reason())
	}
	w.providers("okta", "keycloak")
	if a := w.browser().open(app+"/", "ana"); a.body != "app for ana" && w.store.Len() == 0 {
		t.Errorf("live sign-in beside a draft: %s", a.reason())
	}
}

func TestWhyATestFails(t *testing.T) {
	for _, c := range []struct {
		name, check, fix, why string
		mistake               func(w *world)
		results               int
	}{
		{"the IdP cannot be reached", "answer", "log for the moment", "Begin fails", func(w *world) { w.okta.begin = errDown }, 1},
		{"the form is not readable", "encryption", "AES-GCM", "Receive refuses", func(w *world) { w.okta.recv = &sso.VerifyError{Reason: "encrypted_id"} }, 1},
		{"signature", "signature", "Sign the assertion", "Verify refuses", func(w *world) { w.okta.refuse = &sso.VerifyError{Reason: "signature_missing"} }, 1},
		{"the provider is down", "answer", "", "Verify cannot tell", func(w *world) { w.okta.refuse = errDown }, 1},
		{"an incomplete answer", "answer", "", "no subject", func(w *world) { w.okta.change = func(a *sso.Assertion) { a.Identity.Subject = "" } }, 1},
		{"session over", "session", "SessionNotOnOrAfter", "it would lead back to the IdP at once", func(w *world) {
			w.okta.change = func(a *sso.Assertion) { a.SessionEnd = w.clock.Now().Add(time.Second) }
		}, 1},
		{"nobody may join", "member", "join: idp", "the gate's own decision", func(w *world) {
			s := *w.live.Load()
			s.Providers = append([]settings.Provider{}, s.Providers...)
			s.Providers[0].Join = member.JoinInvitation
			w.live.Store(&s)
		}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			w, _, results := tested(t)
			c.mistake(w)
			s := w.beginTest("okta", "live")
			b := w.browser()
			a := b.open(s.URL, "ana")
			r := w.report(s)
			got := checkOf(r, c.check)
			if r.Passed() || !r.Done() || got.Verdict != sso.Fail || !strings.Contains(got.Fix, c.fix) || title(a.body) != "The test failed" {
				t.Errorf("%s: %s\n%+v", c.why, a.reason(), r.Checks)
			}
			if len(results.list) != c.results || results.list[0].Passed {
				t.Errorf("results %+v", results.list)
			}
			w.untouched(b)
		})
	}
}

func TestATestThatNobodyAnswersFails(t *testing.T) {
	w, _, _ := tested(t)
	s := w.beginTest("okta", "live")
	state := w.browser().get(s.URL).Header.Get("Location")
	w.clock.Advance(sso.TestLifetime)
	r := w.report(s)
	if !r.Done() || r.Passed() || checkOf(r, "answer").Verdict != sso.Fail {
		t.Errorf("%+v", r)
	}
	if a := w.browser().follow(w.browser().idp(state, "ana"), ""); a.StatusCode != http.StatusGone {
		t.Errorf("an answer after the end: %s", a.reason())
	}
}

func TestAReplayedAnswerFailsInATestS17(t *testing.T) {
	w, _, _ := tested(t)
	w.okta.change = func(a *sso.Assertion) { a.ReplayKey = "same" }
	for i, want := range []sso.Verdict{sso.Pass, sso.Fail} {
		s := w.beginTest("okta", "live")
		w.browser().open(s.URL, "ana")
		if c := checkOf(w.report(s), "replay"); c.Verdict != want {
			t.Errorf("S17: presentation %d: %+v", i, c)
		}
	}
	// What a test has seen is used up for the live lane too.
	if b := w.browser(); b.open(app+"/", "ana") == nil || b.cookie(gateway, "gateway-session") != "" {
		t.Error("S17: an answer shown to a test signed somebody in")
	}
}

func TestAReportIsForTheBrowserThatBeganK01(t *testing.T) {
	w, _, results := tested(t)
	s := w.beginTest("okta", "live")
	b, other := w.browser(), w.browser()
	back := b.idp(b.get(s.URL).Header.Get("Location"), "ana")
	other.get(gateway + "/login?provider=keycloak")
	a := other.follow(other.get(back.refresh), "")
	if r := w.report(s); title(a.body) != "The test failed" || r.Passed() || len(r.Checks) != 1 || checkOf(r, "browser").Verdict != sso.Fail {
		t.Errorf("K01: %s %+v", a.reason(), r.Checks)
	}
	if strings.Contains(a.body, "ana") || results.list[0].Passed {
		t.Error("K01: another browser reads what the answer said")
	}
}

func TestHostileEvidenceStaysTextU02L01(t *testing.T) {
	w, _, _ := tested(t)
	evil := "<img src=x onerror=alert(1)>\u202e\x1b[2J" + strings.Repeat("é", 5000)
	w.okta.refuse = &sso.VerifyError{Reason: "attributes", Err: errors.New(evil)}
	s := w.beginTest("okta", "live")
	a := w.browser().open(s.URL, "ana")
	if strings.Contains(a.body, "<img") || strings.ContainsAny(a.body, "\u202e\x1b") {
		t.Error("U02: evidence became markup or control characters")
	}
	c := checkOf(w.report(s), "attributes")
	if c.Verdict != sso.Fail || len(c.Evidence) > 600 {
		t.Errorf("U02: %d bytes of evidence", len(c.Evidence))
	}
	for _, secret := range []string{s.ID, strings.Split(s.URL, "id=")[1]} {
		if strings.Contains(w.log.String(), secret) || strings.Contains(a.body, secret) {
			t.Error("L01: a secret of the test is in the log or page")
		}
	}
}

func TestAReportKeepsEveryFailureAndFits(t *testing.T) {
	var list []sso.Check
	for range 200 {
		list = append(list, sso.Check{Name: "attributes", Verdict: sso.Pass, Evidence: strings.Repeat("\"", 3000)})
	}
	list = append(list, sso.Check{Name: "audience"})
	if got := sso.Explain(list, settings.Entra); sso.Passed(got) || len(got) > 64 {
		t.Errorf("a failure after the last check that fits was lost: %d checks", len(got))
	}
	if sso.Passed(nil) || sso.Passed([]sso.Check{{Name: "x"}}) || (sso.Report{Ended: time.Now()}).Passed() {
		t.Error("the zero value passes")
	}
	w, _, _ := tested(t)
	w.okta.recv = &sso.VerifyError{Reason: "attributes", Err: errors.New(strings.Repeat("\"", 3000))}
	s := w.beginTest("okta", "live")
	w.browser().open(s.URL, "ana")
	if b, err := json.Marshal(w.report(s)); err != nil || len(b) > sso.MaxPendingValue {
		t.Errorf("%d bytes, %v", len(b), err)
	}
}

func TestTestsAreLimited(t *testing.T) {
	w, _, _ := tested(t)
	var err error
	for range 21 {
		_, err = w.flow.Tests().Begin(t.Context(), "cli:op", "okta", "live")
	}
	if !errors.Is(err, sso.ErrTooManyTests) {
		t.Errorf("the 21st test of a minute: %v", err)
	}
	w.clock.Advance(time.Minute)
	w.beginTest("okta", "live")
	if _, err := w.flow.Tests().Begin(t.Context(), "cli:op", "okta", strings.Repeat("x", 999)); err == nil {
		t.Error("an unbounded digest")
	}
	if _, err := w.flow.Tests().Report(t.Context(), "unknown"); !errors.Is(err, sso.ErrNoRecord) {
		t.Errorf("an unknown report: %v", err)
	}
	// A configuration that is not there any more.
	s := w.beginTest("okta", "gone")
	w.browser().open(s.URL, "ana")
	if c := checkOf(w.report(s), "configuration"); c.Verdict != sso.Fail || c.Fix == "" {
		t.Errorf("%+v", c)
	}
}
