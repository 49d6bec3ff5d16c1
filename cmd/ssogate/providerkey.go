package main

import (
	"errors"
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
	"github.com/ssogate/ssogate/config"
)

func newProviderKey(a *app) *cobra.Command {
	var path string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "key ID [publish-next|switch|retire]",
		Short: "Show and replace our own key towards a SAML provider",
		Long: `Show the certificates by which an identity provider knows ssogate, or replace the key
without an outage, in three steps:

  publish-next   a new key is made and its certificate published beside the one in use;
                 give the identity provider the metadata again, or the certificate
  switch         the new key signs; what was encrypted to either still opens
  retire         the old key is gone

Every node follows before the command answers. Wait after publish-next until the
identity provider has the new certificate: it refuses what it cannot verify.`,
		Example: `  ssogate provider key okta
  ssogate provider key okta publish-next`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) < 1 || len(args) > 2 {
				return &usageError{cmd.CommandPath(), errors.New("give the id of one provider, and perhaps a step")}
			}
			if len(args) == 2 && args[1] != string(run.PublishNextKey) && args[1] != string(run.SwitchKey) && args[1] != string(run.RetireKey) {
				return &usageError{cmd.CommandPath(), fmt.Errorf("there is no step %q: publish-next, switch or retire", args[1])}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withControl(cmd.Context(), path, func(_ *config.Config, control *run.Control) error {
				q := run.SPKeyChange{Actor: operator(), Provider: args[0]}
				if len(args) == 2 {
					q.Step = run.SPKeyStep(args[1])
				}
				list, err := control.Providers.SPKeys(cmd.Context(), q)
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(a.stdout, list)
				}
				tw := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
				_, _ = fmt.Fprintln(tw, "USE\tSHA-256 OF THE CERTIFICATE\tEXPIRES")
				for _, k := range list {
					_, _ = fmt.Fprintf(tw, "%s\t%s\t%s\n", k.Use, k.Fingerprint, stamp(k.Expires, ""))
				}
				return tw.Flush()
			})
		},
	}
	configFlag(cmd, &path)
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}
