package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
	"github.com/ssogate/ssogate/config"
)

func newDemo(a *app) *cobra.Command {
	var (
		o             run.DemoOptions
		check, asJSON bool
		verbose       bool
	)
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "Try everything on this machine, offline, in a minute",
		Long: `Run a whole small world in one process: a sample application with ssogate in
front of it, a SAML identity provider that also provisions over SCIM, an OpenID
provider, and three people to be. Nothing is registered anywhere, everything
listens on this machine only, and nothing is left behind.

Sign in, watch the open WebSocket, deactivate yourself on the identity
provider's page, and see it drop.`,
		Example: `  ssogate demo
  ssogate demo --check
  ssogate demo --port 9000 --upstream http://127.0.0.1:3000`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.Port < 0 || o.Port > 65535-4 {
				return &usageError{cmd.CommandPath(), errors.New("--port must be between 1 and 65531 (0 picks free ports)")}
			}
			o.Log = slog.New(slog.DiscardHandler)
			if verbose {
				o.Log = newLogger(a.stderr, config.Log{Level: "info", Format: "text"})
			}
			return a.demo(cmd.Context(), o, check, asJSON)
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.Port, "port", 8080, "first of five ports: N to N+4 are used; 0 picks free ones")
	f.StringVar(&o.Upstream, "upstream", "", "stand in front of this application instead of the sample one")
	f.StringVar(&o.Redis, "redis", "", "keep sessions in this Redis (redis://...) instead of the embedded store")
	f.StringVar(&o.Database, "database", "", "use this PostgreSQL (postgres://...) instead of a temporary SQLite file")
	f.BoolVar(&asJSON, "json", false, "print one JSON line for scripts first, and nothing else")
	f.BoolVar(&check, "check", false, "walk through the story without a browser, print each step, and exit")
	f.BoolVar(&verbose, "verbose", false, "log every request to standard error")
	return cmd
}

func (a *app) demo(ctx context.Context, o run.DemoOptions, check, asJSON bool) error {
	d, err := run.NewDemo(ctx, o)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var checked error
	err = d.Serve(ctx, func() {
		switch {
		case asJSON:
			line, err := json.Marshal(d.Facts)
			if err != nil {
				checked = err
				cancel()
				return
			}
			_, _ = fmt.Fprintf(a.stdout, "%s\n", line)
		case !check:
			printDemo(a.stdout, d)
		}
		if check {
			checked = d.Check(ctx, a.stdout)
			cancel()
		}
	})
	return errors.Join(checked, err)
}

// printDemo says where everything is and what to try.
func printDemo(w io.Writer, d *run.Demo) {
	f := d.Facts
	var people strings.Builder
	for _, p := range f.People {
		fmt.Fprintf(&people, "    %-18s %s\n", p.User, p.Password)
	}
	_, _ = fmt.Fprintf(w, `
ssogate demo is running. Everything is on this machine and vanishes with it.

  Application          %s
  Gateway              %s
  Identity provider    %s  (SAML; also deactivates people over SCIM)
  OpenID provider      %s
  SCIM base URL        %s
  SCIM token           %s
  Health and metrics   %s/readyz  %s/metrics

  People and passwords
%s
  Try this
    1. Open %s and sign in with "Harbour SAML" as %s.
    2. The page holds a WebSocket and an event stream open, and shows the identity headers it received.
    3. Open %s in another tab and deactivate that person: the WebSocket drops at once.
    4. Reload the application: you are refused, with the reason. Re-activate, and sign in again.

  Ctrl-C ends it.
`, f.App, f.Gateway, d.Provisioning(), f.OIDC, f.SCIMBase, f.Token, f.Private, f.Private,
		people.String(), f.App, f.People[0].User, d.Provisioning())
}
