package main

import (
	"context"
	"errors"
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/scim/record"
)

func newPause(a *app) *cobra.Command {
	var reason string
	cmd := a.onConnection(&cobra.Command{
		Use:   "pause",
		Short: "Answer an identity provider's provisioning with \"later\"",
		Long: `Pause a SCIM connection on every node at once: its requests are answered 503 with
a time to wait. Nothing is changed and nothing is lost, because identity providers
send again; one that is kept waiting for days may give up and need a restart
there. Deprovisioning waits too: to cut somebody off meanwhile, use
"ssogate sessions revoke".`,
		Example: `  ssogate scim pause --provider okta --reason "directory clean-up"`,
		Args:    noArgs,
	}, "connection to pause", func(ctx context.Context, control *run.Control, conn string, _ []string) error {
		if len(reason) > 200 {
			return errors.New("--reason is longer than 200 bytes")
		}
		if err := control.SCIM.Pause(ctx, record.Pause{Connection: conn, Actor: operator(), Reason: reason}); err != nil {
			return err
		}
		_, _ = fmt.Fprintf(a.stdout, "%s is paused; \"ssogate scim resume\" ends it\n", conn)
		return nil
	})
	cmd.Flags().StringVar(&reason, "reason", "", "what to show others who look")
	return cmd
}

func newResume(a *app) *cobra.Command {
	return a.onConnection(&cobra.Command{
		Use:     "resume",
		Short:   "End a pause",
		Long:    `End a pause: the identity provider's next request is answered as usual.`,
		Example: `  ssogate scim resume --provider okta`,
		Args:    noArgs,
	}, "connection goes on", func(ctx context.Context, control *run.Control, conn string, _ []string) error {
		if err := control.SCIM.Resume(ctx, operator(), conn); err != nil {
			return err
		}
		_, _ = fmt.Fprintf(a.stdout, "%s goes on\n", conn)
		return nil
	})
}

func newSCIMStatus(a *app) *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Show each connection: working or paused, and when it was last used",
		Long: `Show each SCIM connection with its base URL: whether it works or is paused (by whom,
since when and why), how many bearer tokens and OAuth 2.0 clients it has, and when
one of them was last used. Tokens of the config file are counted, but their use is
not noted.`,
		Example: `  ssogate scim status`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withSCIM(cmd.Context(), path, func(c *config.Config, s run.SCIMAdmin) error {
				_, _ = fmt.Fprintf(a.stdout, "SCIM base URL  %s\n\n", scimURL(c))
				tw := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
				_, _ = fmt.Fprintln(tw, "CONNECTION\tSTATE\tTOKENS\tCLIENTS\tLAST USED")
				for _, sc := range c.SCIM.Connections {
					pause, err := s.Paused(cmd.Context(), sc.Provider)
					if err != nil {
						return err
					}
					state := "working"
					if pause.Connection != "" {
						state = "paused since " + stamp(pause.Since, "") + " by " + inert(pause.Actor)
						if pause.Reason != "" {
							state += ": " + inert(pause.Reason)
						}
					}
					tokens, err := s.List(cmd.Context(), run.BearerToken, sc.Provider)
					if err != nil {
						return err
					}
					clients, err := s.List(cmd.Context(), run.OAuthClient, sc.Provider)
					if err != nil {
						return err
					}
					var last time.Time
					for _, t := range append(tokens[:len(tokens):len(tokens)], clients...) {
						if t.LastUsed.After(last) {
							last = t.LastUsed
						}
					}
					_, _ = fmt.Fprintf(tw, "%s\t%s\t%d\t%d\t%s\n", sc.Provider, state, len(sc.Tokens)+len(tokens), len(clients), stamp(last, "never"))
				}
				return tw.Flush()
			})
		},
	}
	configFlag(cmd, &path)
	return cmd
}
