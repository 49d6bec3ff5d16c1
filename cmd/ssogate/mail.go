package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
)

func newMail(a *app) *cobra.Command {
	cmd := group("mail", "Try the e-mail settings", `Try the settings under mail in the config file. Invitations are sent by the running
ssogate, from its outbox.`)
	cmd.AddCommand(newMailTest(a))
	return cmd
}

func newMailTest(a *app) *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "test ADDRESS",
		Short: "Send one letter now and say what the server answered",
		Long: `Send a short letter to ADDRESS with the settings of the config file, past the outbox,
and print where it went or what went wrong. ssogate need not run.`,
		Example: `  ssogate mail test you@example.com`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &usageError{cmd.CommandPath(), errors.New("give the one address to send to")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := a.loadConfig(path)
			if err != nil {
				return err
			}
			server, err := run.SendTestMail(cmd.Context(), c, args[0])
			if err != nil {
				if server != "" {
					return fmt.Errorf("%s did not take the letter: %w (its server, tls, user and password are under mail in the config file)", server, err)
				}
				return err
			}
			_, _ = fmt.Fprintf(a.stdout, "%s has taken the letter to %s; look into that mailbox, and into its spam folder\n", server, args[0])
			return nil
		},
	}
	configFlag(cmd, &path)
	return cmd
}
