package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
)

// event is one line of go test -json (see "go doc test2json").
type event struct {
	Action     string
	Package    string
	ImportPath string // of build output
	Test       string
	Output     string
	Elapsed    float64
}

// report gathers a run. Zero value with fields set is ready.
type report struct {
	steps   string // verdicts of earlier steps, one a line
	failed  string // earlier steps that failed
	missing string // what is not installed
	ci      bool
	began   time.Time

	output   map[string][]string // package+test -> its lines, until it ends
	packages []string            // go test's line for each package
	skipped  []string            // "package: test: reason" of tests without their server
	slow     []timed
}

type timed struct {
	name    string
	seconds float64
}

// read prints what go test without -v would: the output of failed tests and one
// line for each package.
func (r *report) read(in io.Reader, out io.Writer) error {
	r.output = map[string][]string{}
	sc := bufio.NewScanner(in)
	sc.Buffer(make([]byte, 1<<20), 16<<20)
	for sc.Scan() {
		var e event
		if json.Unmarshal(sc.Bytes(), &e) != nil {
			_, _ = fmt.Fprintln(out, sc.Text()) // not an event: show it as it is
			continue
		}
		r.event(e, out)
	}
	if err := sc.Err(); err != nil {
		return fmt.Errorf("read events: %w", err)
	}
	return nil
}

func (r *report) event(e event, out io.Writer) {
	key := e.Package + " " + e.Test
	switch e.Action {
	case "build-output":
		_, _ = io.WriteString(out, e.Output)
	case "output":
		switch {
		case e.Test != "":
			r.output[key] = append(r.output[key], e.Output)
		case packageLine(e.Output):
			r.packages = append(r.packages, e.Output)
			_, _ = io.WriteString(out, e.Output)
		case e.Output != "PASS\n":
			_, _ = io.WriteString(out, e.Output)
		}
	case "pass", "skip", "fail":
		if e.Test == "" {
			r.packageEnded(e, out)
			return
		}
		switch {
		case e.Action == "fail":
			_, _ = io.WriteString(out, strings.Join(r.output[key], ""))
		case e.Action == "skip":
			if reason := notInstalled(r.output[key]); reason != "" {
				r.skipped = append(r.skipped, e.Package+": "+e.Test+": "+reason)
			}
		}
		delete(r.output, key)
	}
}

// packageEnded shows tests that never ended: a panic or time-out took them along.
func (r *report) packageEnded(e event, out io.Writer) {
	r.slow = append(r.slow, timed{e.Package, e.Elapsed})
	var left []string
	for key := range r.output {
		if strings.HasPrefix(key, e.Package+" ") {
			left = append(left, key)
		}
	}
	slices.Sort(left)
	for _, key := range left {
		if e.Action == "fail" {
			_, _ = io.WriteString(out, strings.Join(r.output[key], ""))
		}
		delete(r.output, key)
	}
}

// packageLine reports go test's line about a whole package.
func packageLine(s string) bool {
	for _, prefix := range []string{"ok  \t", "FAIL\t", "?   \t", "---\t"} {
		if strings.HasPrefix(s, prefix) {
			return true
		}
	}
	return strings.HasPrefix(s, "\t") && strings.Contains(s, "coverage:")
}

// notInstalled is the line of a skipped test that says which program it lacks.
func notInstalled(output []string) string {
	for _, l := range output {
		if strings.Contains(l, "not installed") {
			return strings.TrimSpace(l)
		}
	}
	return ""
}

// finish prints the summary, and go test's lines last. It answers whether the
// whole run may be called good.
func (r *report) finish(out io.Writer, passed bool) bool {
	p := func(format string, args ...any) { _, _ = fmt.Fprintf(out, format, args...) }
	p("\n== summary\n%s", r.steps)
	verdict := "ok"
	if !passed {
		verdict = "FAILED"
	}
	p("  %-16s %-7s\n", "go test", verdict)
	slices.SortFunc(r.slow, func(a, b timed) int {
		if a.seconds == b.seconds {
			return strings.Compare(a.name, b.name)
		}
		if a.seconds > b.seconds {
			return -1
		}
		return 1
	})
	for _, s := range r.slow[:min(5, len(r.slow))] {
		p("    %6.1fs %s\n", s.seconds, s.name)
	}
	p("  all together     %s\n", time.Since(r.began).Round(time.Second))

	complete := strings.TrimSpace(r.missing) == "" && len(r.skipped) == 0
	if !complete {
		p("not installed: %s\n", strings.TrimSpace(r.missing))
		if len(r.skipped) > 0 {
			slices.Sort(r.skipped)
			p("so these were SKIPPED:\n%s", lines(r.skipped))
		}
		if r.ci {
			p("CI=true asks for every real server: this run has FAILED\n")
		}
	}
	failed := strings.TrimSpace(r.failed)
	if failed != "" {
		p("FAILED before the tests: %s\n", failed)
	}
	p("\n%s", strings.Join(r.packages, ""))
	good := passed && failed == "" && (complete || !r.ci)
	if !good {
		p("FAIL\n")
	}
	return good
}
