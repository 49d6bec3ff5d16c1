package sso

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/internal/web"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
	"github.com/ssogate/ssogate/settings"
)

// A test run is a real round trip in a lane of its own (row S30):
//
//	Tests.Begin -> link -> /login/test -> at the IdP -> ACS or callback -> /login/test/done -> Report
//
// Its records are of kinds that live code never reads, and nothing here starts a
// session, admits a member or hands anything to an app origin.

// Tests begins test runs of this gateway and reads their reports.
func (f *Flow) Tests() *Tests { return f.tests }

// testLogin is a Login in the lane of tests.
type testLogin struct {
	Login Login   `json:"login"`
	Run   testRun `json:"run"`
}

// testCode is a report whose browser has not come back yet.
type testCode struct {
	Report  Report      `json:"report"`
	Hash    secret.Hash `json:"hash"`
	Binding string      `json:"binding"`
}

// testBegin opens the link of a test run, once.
func (f *Flow) testBegin(w http.ResponseWriter, r *http.Request) {
	if prefetch(r) {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	ctx := r.Context()
	var run testRun
	if !f.takeTest(w, r, key(KindTestLink, param(r, "id", maxID)), &run) {
		return
	}
	report, err := f.tests.report(ctx, run.Report)
	if err != nil {
		f.storeFailed(w, r, err)
		return
	}
	b, err := f.cookies.Binding(w, r, session.Gateway)
	if err != nil {
		f.unavailable(w, r, err)
		return
	}
	p, s, ok := f.testProvider(run)
	if !ok {
		report.Checks = Explain([]Check{changedConfiguration()}, "")
		f.testEnd(w, r, run.Report, report)
		return
	}
	l := Login{
		ID: testID(), Kind: Test, Provider: run.Provider, Binding: b.String(),
		Expires: f.Now().Add(LoginLifetime), // as in the live lane: it tells when the Login was made
	}
	if l.Start, err = p.Begin(ctx, l); err != nil {
		report.Checks = Explain(Refused(err, nil), s.Preset)
		f.testEnd(w, r, run.Report, report)
		return
	}
	if err := f.putJSON(ctx, key(KindTestLogin, l.ID), testLogin{l, run}, run.Until); err != nil {
		f.storeFailed(w, r, err)
		return
	}
	f.sendAway(w, r, "Testing the configuration", p.Info().Name, l.Start)
}

// takeTest reads a record of a test, once, and answers the request where there is none.
func (f *Flow) takeTest(w http.ResponseWriter, r *http.Request, k Key, into any) bool {
	taken, err := f.Pending.Take(r.Context(), k)
	if err == nil {
		err = json.Unmarshal(taken[0], into)
	}
	switch {
	case errors.Is(err, ErrNoRecord):
		f.testGone(w, r)
	case err != nil:
		f.storeFailed(w, r, err)
	}
	return err == nil
}

func (f *Flow) testGone(w http.ResponseWriter, r *http.Request) {
	f.page(w, r, web.Page{
		Status: http.StatusGone, Title: "This test has ended",
		Lead: "Its link works once and for 15 minutes. Begin a new test where you began this one.",
	})
}

func changedConfiguration() Check {
	return Check{
		Name: "configuration", Verdict: Fail, Evidence: "the configuration that was to be tested is not there any more",
		Fix: "Begin a new test: the provider was changed or removed after this one was begun.",
	}
}

// testProvider is what the run tests: exactly that configuration or nothing.
func (f *Flow) testProvider(run testRun) (Provider, settings.Provider, bool) {
	if f.TestProviders == nil {
		return nil, settings.Provider{}, false
	}
	p, s, ok := f.TestProviders(run.Provider, run.Digest)
	return p, s, ok && p != nil && p.Info().ID == run.Provider
}

// testCallback receives the IdP's answer in the lane of tests. Its Login is gone
// whatever the answer is: one answer, one report.
func (f *Flow) testCallback(w http.ResponseWriter, r *http.Request, id string) {
	ctx := r.Context()
	var l testLogin
	if !f.takeTest(w, r, key(KindTestLogin, id), &l) {
		return
	}
	if l.Login.Kind != Test || !f.Now().Before(l.Run.Until) {
		f.testGone(w, r)
		return
	}
	l.Login.ID = id
	report, err := f.tests.report(ctx, l.Run.Report)
	if err != nil {
		f.storeFailed(w, r, err)
		return
	}
	if report.Checks, err = f.examine(w, r, l); err != nil {
		f.storeFailed(w, r, err)
		return
	}
	code := secret.NewToken()
	c := testCode{Report: report, Hash: l.Run.Report, Binding: l.Login.Binding}
	if c.Report, err = report.fitted(); err == nil {
		err = f.putJSON(ctx, key(KindTestCode, code), c, f.Now().Add(usedLifetime))
	}
	if err != nil {
		f.storeFailed(w, r, err)
		return
	}
	f.moveOn(w, r, "/login/test/done?code="+code)
}

// examine asks everything about one answer. An error is the store's.
func (f *Flow) examine(w http.ResponseWriter, r *http.Request, l testLogin) ([]Check, error) {
	p, s, ok := f.testProvider(l.Run)
	if !ok {
		return Explain([]Check{changedConfiguration()}, ""), nil
	}
	if r.PathValue("provider") != l.Login.Provider {
		return Explain([]Check{{Name: "destination", Verdict: Fail, Evidence: "the answer came to the address of another provider"}}, s.Preset), nil
	}
	resp, err := p.Receive(w, r)
	if err != nil {
		return Explain(Refused(err, nil), s.Preset), nil
	}
	x := examineAny(r.Context(), resp, l.Login)
	if !Passed(x.Checks) {
		return Explain(x.Checks, s.Preset), nil
	}
	more, err := f.admissible(r, x.Assertion, s)
	if err != nil {
		return nil, err
	}
	return Explain(append(x.Checks, more...), s.Preset), nil
}

// examineAny takes the verdict of Verify where a provider has no examination.
func examineAny(ctx context.Context, resp Response, l Login) Examination {
	if e, ok := resp.(Examiner); ok {
		return e.Examine(ctx, l)
	}
	a, err := resp.Verify(ctx, l)
	if err != nil {
		return Examination{Checks: Refused(err, nil)}
	}
	x := Examination{Assertion: a, Checks: []Check{{Name: "answer", Verdict: Pass, Evidence: "the answer was accepted"}}}
	for _, v := range []struct{ check, value string }{
		{"name_id", a.Identity.Subject},
		{"attribute:user_name", a.Profile.UserName},
		{"attribute:email", a.Profile.Email},
		{"groups", strings.Join(a.Groups, ", ")},
	} {
		c := Check{Name: v.check, Verdict: Pass, Evidence: v.value}
		if v.value == "" {
			c.Verdict, c.Evidence = Warn, "none arrived"
		}
		x.Checks = append(x.Checks, c)
	}
	return x
}

// admissible asks what the live flow asks of an accepted answer: completeness, replay,
// the session's length, and whether the directory would admit the person.
func (f *Flow) admissible(r *http.Request, a Assertion, p settings.Provider) ([]Check, error) {
	ctx := r.Context()
	if a.Identity.Provider != p.ID || a.Identity.Issuer == "" || a.Identity.Subject == "" || a.ReplayKey == "" || !f.Now().Before(a.ReplayUntil) {
		return []Check{{Name: "answer", Verdict: Fail, Evidence: "the answer is incomplete"}}, nil
	}
	var out []Check
	// The memory of the live lane: what was shown to a test is used up for both.
	switch err := f.Pending.Once(ctx, key(KindAssertion, p.ID+"|"+a.ReplayKey), a.ReplayUntil); {
	case errors.Is(err, ErrUsed):
		return []Check{{Name: "replay", Verdict: Fail, Evidence: "this answer was used before"}}, nil
	case err != nil:
		return nil, err
	default:
		out = append(out, Check{Name: "replay", Verdict: Pass, Evidence: "the answer is new"})
	}
	if !a.SessionEnd.IsZero() && a.SessionEnd.Sub(f.Now()) < minSession {
		out = append(out, Check{Name: "session", Verdict: Fail, Evidence: "it allows a session until " + a.SessionEnd.UTC().Format(time.RFC3339)})
	}
	if a = withGroups(a); a.GroupsMissing != "" {
		out = append(out, Check{
			Name: "groups", Verdict: Warn, Evidence: "the person is in groups, and they are not known: " + a.GroupsMissing + "; a sign-in leaves the teams as they are",
			Fix: "Let the identity provider send fewer: at Entra, \"Groups assigned to the application\" under Attributes & Claims > Add a group claim.",
		})
	}
	before := f.Now().Truncate(time.Millisecond)
	m, err := f.Directory.Foresee(ctx, memberLogin(f.Live.Load(), p, a, f.actor(r, "test:"+p.ID)))
	var refusal *member.Refusal
	if err != nil && !errors.As(err, &refusal) {
		return nil, err
	}
	return append(out, memberCheck(m, refusal, before)), nil
}

// memberCheck is the gate's decision about the person, with its reason.
func memberCheck(m member.Member, refusal *member.Refusal, before time.Time) Check {
	c := Check{Name: "member", Verdict: Fail, Evidence: "would be refused"}
	switch {
	case refusal != nil && refusal.Code == member.RefusedInvitationPending:
		c.Verdict, c.Evidence = Warn, fmt.Sprintf("would be asked to accept the invitation of %q", refusal.Member.UserName)
		c.Fix = "Nothing is wrong: the person presses one button at the first sign-in."
	case refusal != nil:
		c.Evidence = "would be refused: " + string(refusal.Code)
		if refusal.Member.UserName != "" {
			c.Evidence += fmt.Sprintf(" (member %q)", refusal.Member.UserName)
		}
	case !m.Admitted():
	case !m.Created.Before(before):
		c.Verdict, c.Evidence = Pass, fmt.Sprintf("would be admitted as a new member %q", m.UserName)
	default:
		c.Verdict, c.Evidence = Pass, fmt.Sprintf("would be admitted as the member %q (%s)", m.UserName, m.ID)
	}
	return c
}

// testDone is where the browser of a test comes back: the binding cookie is compared
// as in the live lane, and only then the report stands.
func (f *Flow) testDone(w http.ResponseWriter, r *http.Request) {
	if prefetch(r) {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	code := param(r, "code", maxID)
	var c testCode
	switch err := f.getJSON(r.Context(), key(KindTestCode, code), &c); {
	case errors.Is(err, ErrNoRecord):
		f.testGone(w, r)
		return
	case err != nil:
		f.storeFailed(w, r, err)
		return
	}
	check := Check{Name: "browser", Verdict: Pass, Evidence: "the browser that began came back with its cookie"}
	if bound, ok := f.cookies.Bound(r, session.Gateway); !ok || !matches(bound, c.Binding) {
		if param(r, "retry", 1) != "1" {
			f.moveOn(w, r, "/login/test/done?code="+url.QueryEscape(code)+"&retry=1")
			return
		}
		// What the answer said is not for whoever carries somebody else's code (row K01).
		c.Report.Checks = nil
		check.Verdict, check.Evidence = Fail, "another browser came back, or cookies are blocked"
	}
	c.Report.Checks = Explain(append(c.Report.Checks, check), "")
	f.testEnd(w, r, c.Hash, c.Report)
}

// testEnd keeps a report, once, and shows it.
func (f *Flow) testEnd(w http.ResponseWriter, r *http.Request, h secret.Hash, report Report) {
	ctx := r.Context()
	if old, err := f.tests.report(ctx, h); err != nil {
		f.storeFailed(w, r, err)
		return
	} else if old.Done() { // a reload
		f.reportPage(w, r, old)
		return
	}
	report.Ended = f.Now().UTC()
	report, err := report.fitted()
	if err == nil {
		err = f.keepReport(ctx, r, h, report)
	}
	if err != nil {
		f.storeFailed(w, r, err)
		return
	}
	f.reportPage(w, r, report)
}

// keepReport records the result before the report: nobody reads of a passed test
// that does not count.
func (f *Flow) keepReport(ctx context.Context, r *http.Request, h secret.Hash, report Report) error {
	outcome := audit.Denied
	if report.Passed() {
		outcome = audit.Allowed
	}
	e := f.event(r, "provider.tested", outcome, report.Provider, "")
	e.Actor = report.By
	if err := f.Audit.Record(ctx, e); err != nil {
		return err
	}
	if f.Results != nil {
		b, err := json.Marshal(report)
		if err != nil {
			return fmt.Errorf("sso: report: %w", err)
		}
		if err := f.Results.Record(ctx, settings.Result{
			Provider: report.Provider, Digest: report.Digest, Passed: report.Passed(), Report: b, By: report.By, At: report.Ended,
		}); err != nil {
			return err
		}
	}
	return f.tests.put(ctx, h, report)
}

func rank(v Verdict) int {
	switch v {
	case Pass:
		return 2
	case Warn:
		return 1
	default:
		return 0
	}
}

// reportPage shows a report in short. Everything in it is escaped (row U02).
func (f *Flow) reportPage(w http.ResponseWriter, r *http.Request, report Report) {
	p := web.Page{
		Status: http.StatusOK, Title: "The test passed",
		Lead: "People can sign in with this configuration. You may close this page; nobody was signed in by it.",
	}
	failed := 0
	// What is to be done first; the order is otherwise that of the questions.
	list := slices.Clone(report.Checks)
	slices.SortStableFunc(list, func(a, b Check) int { return rank(a.Verdict) - rank(b.Verdict) })
	for _, c := range list {
		mark := "✓ "
		switch c.Verdict {
		case Pass:
		case Warn:
			mark = "! "
		default:
			mark = "✗ "
			failed++
		}
		name := strings.NewReplacer("_", " ", ":", ": ").Replace(c.Name)
		p.Facts = append(p.Facts, web.Fact{Label: mark + name, Value: c.Evidence})
		if c.Fix != "" {
			p.Facts = append(p.Facts, web.Fact{Label: "What to do", Value: c.Fix})
		}
	}
	if !report.Passed() {
		p.Status, p.Title = http.StatusUnprocessableEntity, "The test failed"
		p.Lead = fmt.Sprintf("%d of %d checks failed. Nobody was signed in by it, and nothing was changed.", failed, len(report.Checks))
	}
	f.page(w, r, p)
}
