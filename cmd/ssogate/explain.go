package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
	"github.com/ssogate/ssogate/config"
)

func newExplain(a *app) *cobra.Command {
	var path string
	var asJSON bool
	var q run.ExplainQuestion
	cmd := &cobra.Command{
		Use:   "explain URL",
		Short: "Say whether a request would be let through, and why",
		Long: `Say what the gate would decide about a request, by the code that decides, and
which rule decided it. Nothing is sent to the application.

Without --as it is somebody without a session. With --as it is that member with
a session that was just made; --age makes the credentials older, --provider says
through whom, and --address from where. With --machine it is the program with that
service token, by the machine's name or the token's id.

A running ssogate with SQLite is asked for the routes it uses now. Otherwise the
config file is read.`,
		Example: `  ssogate explain https://app.example.com/reports
  ssogate explain --as ana@example.com --method POST https://app.example.com/admin/users
  ssogate explain --machine deploy https://app.example.com/api/releases
  ssogate explain --as ana@example.com --age 2h --address 192.0.2.7 https://app.example.com/pay/`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &usageError{cmd.CommandPath(), errors.New("name one URL, as people open it")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if q.Who != "" && q.Machine != "" {
				return &usageError{cmd.CommandPath(), errors.New("--as and --machine are two answers to one question")}
			}
			q.URL = args[0]
			return a.withControl(cmd.Context(), path, func(_ *config.Config, c *run.Control) error {
				return a.explain(cmd.Context(), c.Explain, q, asJSON)
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&q.Who, "as", "", "the member, by id or user name")
	f.StringVar(&q.Machine, "machine", "", "instead: a machine with a service token, or the id of one")
	f.StringVar(&q.Method, "method", "GET", "the method")
	f.StringVar(&q.Provider, "provider", "", "the provider of the session (default: the first one linked)")
	f.StringVar(&q.Address, "address", "", "the client's address")
	f.DurationVar(&q.Age, "age", 0, "since credentials were shown, e.g. 30m")
	f.BoolVar(&asJSON, "json", false, "write JSON")
	configFlag(cmd, &path)
	return cmd
}

func (a *app) explain(ctx context.Context, x run.Explainer, q run.ExplainQuestion, asJSON bool) error {
	e, err := x.Explain(ctx, q)
	if err != nil {
		return err
	}
	if asJSON {
		return printJSON(a.stdout, e)
	}
	printExplained(a.stdout, e)
	return nil
}

func printExplained(w io.Writer, e run.Explained) {
	line := func(label, value string) {
		if value != "" {
			_, _ = fmt.Fprintf(w, "%-9s %s\n", label, inert(value))
		}
	}
	line("request", e.Request)
	who := "nobody who is signed in"
	if e.Member != "" {
		who = e.Member
		if e.Role != "" {
			who += " (" + e.Role + ")"
		}
		if len(e.Teams) > 0 {
			who += ", teams " + strings.Join(e.Teams, " ")
		}
		if e.Provider != "" {
			who += ", through " + e.Provider
		}
	}
	line("who", who)
	line("route", e.Route)
	line("rule", e.Rule)
	line("asks for", strings.Join(e.Asks, "; "))
	line("verdict", e.Verdict)
	line("reason", e.Reason)
	line("because", e.Because)
}
