package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ssogate/ssogate/config"
)

func newCheck(a *app) *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Report every fault of a config, with its key and its fix",
		Long: `check reads the config file and the SSOGATE_... environment exactly as "serve"
does, and reports all faults at once: the key, what is wrong with it, where it was
set, and what to write instead. It opens the files that the config names, but no
network connection and no database.

It exits with 0 when the config is good and with 1 when it is not.`,
		Example: `  ssogate check
  ssogate check --config /etc/ssogate/ssogate.yaml`,
		Args: noArgs,
		RunE: func(*cobra.Command, []string) error { return a.check(path) },
	}
	configFlag(cmd, &path)
	return cmd
}

func (a *app) check(flag string) error {
	path := a.configPath(flag)
	name := path
	if name == "" {
		name = "environment"
	}
	c, err := config.Load(path, a.env)
	var refused *config.Error
	switch {
	case errors.As(err, &refused):
		return a.printFaults(name, refused.Faults)
	case err != nil:
		return err
	}
	var b strings.Builder
	for _, w := range c.Warnings() {
		describe(&b, "warning: ", w)
	}
	fmt.Fprintf(&b, "%s: good (%s, %s)\n", name, count(len(c.Providers), "provider"), count(len(c.Routes), "route"))
	if len(c.Providers) == 0 {
		b.WriteString("nobody can sign in yet: declare an identity provider under \"providers:\"\n")
	}
	_, err = fmt.Fprint(a.stdout, b.String())
	return err
}

// printFaults is the answer of check, so it goes to standard output.
func (a *app) printFaults(name string, faults []config.Fault) error {
	var b strings.Builder
	for _, f := range faults {
		describe(&b, "", f)
	}
	fmt.Fprintf(&b, "%s: %s\n", name, count(len(faults), "fault"))
	if _, err := fmt.Fprint(a.stdout, b.String()); err != nil {
		return err
	}
	return errReported
}

func describe(b *strings.Builder, prefix string, f config.Fault) {
	b.WriteString(prefix)
	if f.Key != "" {
		b.WriteString(f.Key + ": ")
	}
	b.WriteString(f.Problem)
	if f.Source != "" {
		b.WriteString("  (" + f.Source + ")")
	}
	b.WriteString("\n    fix: " + f.Fix + "\n")
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
