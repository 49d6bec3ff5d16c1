package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/sso"
)

const (
	testWait = 10 * time.Minute // for the browser
	testPoll = time.Second
)

func newTestProvider(a *app) *cobra.Command {
	var path string
	var asJSON, offline bool
	var version int64
	cmd := &cobra.Command{
		Use:   "test-provider ID",
		Short: "Try an identity provider and explain what is wrong with it",
		Long: `test-provider tries the identity provider ID of the config. First it looks at what
needs no browser: its address, metadata or discovery document, certificates and
clock, as seen from this host. Then it prints a link, to be opened in any browser:
a real sign-in, which signs nobody in and changes nothing. Every check is printed
with what arrived and, where it did not pass, with what to do about it.

The link works once and for 15 minutes; the command waits for 10. It needs a
running "ssogate serve" of the same config. --offline stops before the link.

With --version it is a provider that was saved with "ssogate provider save", draft or
not. A passed test is kept: Require SSO asks for one of every active provider as it is.

It exits with 0 when no check failed and with 1 otherwise.`,
		Example: `  ssogate test-provider okta
  ssogate test-provider okta --offline
  ssogate test-provider okta --version 4
  ssogate test-provider okta --json > report.json`,
		RunE: func(cmd *cobra.Command, args []string) error {
			ctx, cancel := context.WithTimeout(cmd.Context(), testWait)
			defer cancel()
			t := providerTest{a: a, id: args[0], json: asJSON, offline: offline, version: version}
			return t.run(ctx, path)
		},
	}
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) != 1 {
			return &usageError{cmd.CommandPath(), errors.New("give the ID of one provider of the config")}
		}
		return nil
	}
	configFlag(cmd, &path)
	cmd.Flags().BoolVar(&asJSON, "json", false, "the report as JSON; the link goes to standard error")
	cmd.Flags().Int64Var(&version, "version", 0, "of the saved settings to test (default: the config file's)")
	cmd.Flags().BoolVar(&offline, "offline", false, "only what needs no browser and no running ssogate")
	return cmd
}

// providerTest is one run of the command.
type providerTest struct {
	a             *app
	id            string
	json, offline bool
	version       int64 // of the saved settings to test, 0 = the config file's
}

// testOutcome is what --json prints.
type testOutcome struct {
	Provider string      `json:"provider"`
	Digest   string      `json:"digest"`
	Passed   bool        `json:"passed"`
	Offline  []sso.Check `json:"offline"`          // without a browser, seen from this host
	Report   *sso.Report `json:"report,omitempty"` // of the round trip; absent with --offline
}

func (t providerTest) run(ctx context.Context, path string) error {
	c, err := t.a.loadConfig(path)
	if err != nil {
		return err
	}
	if t.version != 0 {
		return t.saved(ctx, c)
	}
	static, err := run.Inspect(ctx, c, t.id)
	if err != nil {
		return err
	}
	out := testOutcome{Provider: t.id, Digest: static.Digest, Passed: sso.Passed(static.Checks), Offline: static.Checks}
	if !t.json {
		t.print(static.Checks)
	}
	if !t.offline {
		report, err := t.roundTrip(ctx, c, static.Digest)
		if err != nil {
			return err
		}
		out.Report, out.Passed = &report, out.Passed && report.Passed()
		if !t.json {
			t.print(report.Checks)
		}
	}
	if t.json {
		if err := printJSON(t.a.stdout, out); err != nil {
			return err
		}
	} else {
		_, _ = fmt.Fprintf(t.a.stdout, "%s: %s\n", inert(t.id), map[bool]string{true: "passed", false: "failed"}[out.Passed])
	}
	if !out.Passed {
		return errReported
	}
	return nil
}

// saved tests a provider of a saved version. What needs no browser is part of its
// round trip: this host need not have what the running ssogate keeps sealed.
func (t providerTest) saved(ctx context.Context, c *config.Config) error {
	control, err := run.OpenControl(ctx, c)
	if err != nil {
		return err
	}
	shown, err := control.Settings.Show(ctx, t.version)
	err = errors.Join(err, control.Close())
	if err != nil {
		return err
	}
	digest, ok := shown.Digests[t.id]
	if !ok {
		return fmt.Errorf("version %d holds no provider %q; \"ssogate settings show %d\" lists what it holds", t.version, t.id, t.version)
	}
	report, err := t.roundTrip(ctx, c, digest)
	if err != nil {
		return err
	}
	if t.json {
		err = printJSON(t.a.stdout, testOutcome{Provider: t.id, Digest: digest, Passed: report.Passed(), Report: &report})
	} else {
		t.print(report.Checks)
		_, err = fmt.Fprintf(t.a.stdout, "%s: %s\n", inert(t.id), map[bool]string{true: "passed", false: "failed"}[report.Passed()])
	}
	if err == nil && !report.Passed() {
		return errReported
	}
	return err
}

// roundTrip prints the link and waits for what comes of it.
func (t providerTest) roundTrip(ctx context.Context, c *config.Config, digest string) (report sso.Report, err error) {
	control, err := run.OpenControl(ctx, c)
	if err != nil {
		return report, err
	}
	defer func() { err = errors.Join(err, control.Close()) }()
	start, err := control.Tests.Begin(ctx, run.TestQuestion{Actor: operator(), Provider: t.id, Digest: digest})
	if err != nil {
		return report, err
	}
	say := t.a.stdout
	if t.json {
		say = t.a.stderr
	}
	_, _ = fmt.Fprintf(say, "\nopen this in a browser and sign in as somebody of %s (it works once, until %s UTC):\n\n  %s\n\nwaiting ...\n",
		inert(t.id), start.Until.UTC().Format("15:04"), start.URL)
	tick := time.NewTicker(testPoll)
	defer tick.Stop()
	for {
		report, err = control.Tests.Report(ctx, start.ID)
		if err == nil && report.Done() {
			return report, nil
		}
		if err != nil && ctx.Err() == nil {
			return report, err
		}
		select {
		case <-ctx.Done():
			if errors.Is(ctx.Err(), context.DeadlineExceeded) {
				return report, fmt.Errorf("nothing came back within %s; begin again and read the page where the browser stopped", testWait)
			}
			return report, errors.New("given up; nothing was changed")
		case <-tick.C:
		}
	}
}

// print lists checks: the mark, the name, what arrived, and what to do.
func (t providerTest) print(list []sso.Check) {
	printChecks(t.a.stdout, list, t.a.unicode())
}

func printChecks(w io.Writer, list []sso.Check, unicode bool) {
	width := 0
	for _, c := range list {
		width = max(width, len(inert(c.Name)))
	}
	for _, c := range list {
		_, _ = fmt.Fprintf(w, "%s %-*s  %s\n", mark(c.Verdict, unicode), width, inert(c.Name), inert(c.Evidence))
		if c.Fix != "" {
			_, _ = fmt.Fprintf(w, "  %-*s  fix: %s\n", width, "", inert(c.Fix))
		}
	}
}

func mark(v sso.Verdict, unicode bool) string {
	switch {
	case v == sso.Pass && unicode:
		return "✓"
	case v == sso.Pass:
		return "ok  "
	case v == sso.Warn && unicode:
		return "!"
	case v == sso.Warn:
		return "warn"
	case unicode:
		return "✗"
	}
	return "FAIL"
}

// unicode reports whether the terminal's locale can show more than ASCII, as POSIX
// chooses it: the first of these that is set.
func (a *app) unicode() bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := strings.ToLower(a.getenv(name)); v != "" {
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return false
}
