package sso

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/ssogate/ssogate/settings"
)

// Verdict is how one check of a test run ended. The zero value counts as failed.
type Verdict string

// Verdicts.
const (
	Pass Verdict = "pass"
	Warn Verdict = "warn" // it works, and will not for ever or not for everybody
	Fail Verdict = "fail" // a sign-in ends here
)

// Check is one question that a test run asked.
type Check struct {
	Name     string  `json:"name"` // stable: "audience", "attribute:email"
	Verdict  Verdict `json:"verdict"`
	Evidence string  `json:"evidence,omitempty"` // what arrived: hostile text, never a token or an assertion
	Fix      string  `json:"fix,omitempty"`      // what to do, in plain words; "" where nothing is to be done
}

// Limits of a report: it is kept in a Pending store.
const (
	maxChecks   = 64
	maxEvidence = 600
	maxReport   = MaxPendingValue - 1<<10
)

// Report is what a test run ends in, and the only thing it ends in.
type Report struct {
	Provider string    `json:"provider"`
	Digest   string    `json:"digest"` // of the configuration that was tested (settings.Digest)
	By       string    `json:"by"`
	Begun    time.Time `json:"begun"`
	Until    time.Time `json:"until"` // an answer after it is too late
	Ended    time.Time `json:"ended,omitzero"`
	Checks   []Check   `json:"checks"`
}

// Done reports whether the run has ended.
func (r Report) Done() bool { return !r.Ended.IsZero() }

// Passed reports whether the run has ended and nobody would be refused for the
// configuration. A report without checks has passed nothing.
func (r Report) Passed() bool { return r.Done() && Passed(r.Checks) }

// Passed reports whether there are checks and none of them failed.
func Passed(list []Check) bool {
	for _, c := range list {
		if c.Verdict != Pass && c.Verdict != Warn {
			return false
		}
	}
	return len(list) > 0
}

// Examination is what an answer looks like from every side.
type Examination struct {
	Checks []Check
	// Assertion is what Verify answered; the zero value when it refused.
	Assertion Assertion
}

// Examiner is a [Response] that can say everything that is wrong with it, where
// Verify stops at the first. It calls Verify itself: Verify accepts exactly when no
// check failed. A provider's answer is read once, so it takes the place of Verify.
type Examiner interface {
	Examine(ctx context.Context, l Login) Examination
}

// Inspector is a [Provider] that can be looked at without a browser: its endpoints,
// documents, certificates and clock. It makes calls, with deadlines of its own.
type Inspector interface {
	Inspect(ctx context.Context) []Check
}

// Shown makes a value from the wire fit to be evidence: one line of printable text
// of bounded length. Marks that turn a line around and controls go (rows U02, C11).
func Shown(s string) string {
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r):
			return ' '
		case !unicode.IsPrint(r):
			return '\uFFFD'
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	return cut(s, maxEvidence)
}

func cut(s string, limit int) string {
	if len(s) <= limit {
		return s
	}
	end := limit - len("...")
	for end > 0 && !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "..."
}

// Explain gives each check that did not pass its fix, naming where to click at a
// product that is known, and bounds the evidence.
func Explain(list []Check, preset settings.Preset) []Check {
	if len(list) > maxChecks { // a check that is not shown must not be one that failed
		list = append(list[:maxChecks-1:maxChecks-1], Check{Name: "report", Verdict: Fail, Evidence: "more checks than a report holds"})
	}
	out := make([]Check, 0, len(list))
	for _, c := range list {
		c.Evidence = Shown(c.Evidence)
		if c.Verdict == Pass {
			c.Fix = ""
		} else if c.Fix == "" {
			c.Fix = fixFor(c.Name, preset)
		}
		out = append(out, c)
	}
	return out
}

// encode is the report as it is stored.
func (r Report) encode() ([]byte, error) {
	r, err := r.fitted()
	if err != nil {
		return nil, err
	}
	return json.Marshal(r)
}

// fitted fits a report into a Pending store by shortening its evidence, never by
// leaving out a check.
func (r Report) fitted() (Report, error) {
	for _, limit := range []int{maxEvidence, 300, 120, 40} {
		short := r
		short.Checks = make([]Check, len(r.Checks))
		for i, c := range r.Checks {
			c.Evidence = cut(c.Evidence, limit)
			if limit < 120 {
				c.Fix = cut(c.Fix, 120)
			}
			short.Checks[i] = c
		}
		b, err := json.Marshal(short)
		if err != nil {
			return Report{}, fmt.Errorf("sso: report: %w", err)
		}
		if len(b) <= maxReport {
			return short, nil
		}
	}
	return Report{}, fmt.Errorf("sso: report of %d checks is too large", len(r.Checks))
}

// refusedCheck is the check that a refusal of Receive or Verify belongs to.
func refusedCheck(err error) Check {
	name, evidence := "answer", "the identity provider could not be asked: "+err.Error()
	if v, ok := errors.AsType[*VerifyError](err); ok {
		name, evidence = CheckOf(v.Reason), v.Reason
		if v.Err != nil && v.Reason != "panic" { // a stack is for the log
			evidence += ": " + v.Err.Error()
		}
	}
	return Check{Name: name, Verdict: Fail, Evidence: evidence}
}

// Refused is the check that an error of Verify belongs to: with what an
// examination found besides, so that none is lost that no checker names.
func Refused(err error, found []Check) []Check {
	c := refusedCheck(err)
	for _, f := range found {
		if f.Verdict != Pass && f.Verdict != Warn && f.Name == c.Name {
			return found // said already, and in more detail
		}
	}
	return append(found, c)
}

// maxClock is how far the clocks may differ before it is worth a word: half of what
// the protocols allow.
const maxClock = 30 * time.Second

// ClockCheck compares the Date of an HTTP answer, which has whole seconds and was
// on its way for a while, with our clock. It answers nothing without a Date.
func ClockCheck(date string, now time.Time) []Check {
	t, err := http.ParseTime(date)
	if err != nil {
		return nil
	}
	diff := t.Sub(now).Round(time.Second)
	c := Check{Name: "clock", Verdict: Pass, Evidence: fmt.Sprintf("the identity provider's clock differs from this host's by %d s", int(diff.Seconds()))}
	if diff.Abs() > maxClock {
		c.Verdict = Warn
	}
	return []Check{c}
}
