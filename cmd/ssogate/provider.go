package main

import (
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/sso/saml"
)

func newProvider(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "provider",
		Short: "Save, publish and switch identity providers, and approve what they change",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newProviderList(a), newProviderSave(a), newProviderPublish(a), newProviderKey(a))
	cmd.AddCommand(newProviderSwitches(a)...)
	cmd.AddCommand(newProviderChanges(a), newProviderDecision(a, true), newProviderDecision(a, false))
	return cmd
}

func newProviderList(a *app) *cobra.Command {
	var path string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List identity providers, those of the config file and those that were published",
		Long: `List the identity providers by which people sign in: those that the config file declares
and those that were saved and published. A saved one whose id the config file declares
too is not used ("shadowed"). Drafts are in "ssogate settings versions".`,
		Example: `  ssogate provider list`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withControl(cmd.Context(), path, func(_ *config.Config, control *run.Control) error {
				list, err := control.Providers.List(cmd.Context())
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(a.stdout, list)
				}
				return printProviders(a.stdout, list)
			})
		},
	}
	configFlag(cmd, &path)
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

func printProviders(w io.Writer, list []run.ProviderInfo) error {
	if len(list) == 0 {
		_, err := fmt.Fprintln(w, "no identity providers: declare one under providers in the config file, or save one with \"ssogate provider save\"")
		return err
	}
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(tw, "ID\tNAME\tPROTOCOL\tSTATE\tFROM\tJOIN\tWAITS FOR APPROVAL")
	for _, p := range list {
		pending := "-"
		if p.Pending != "" {
			pending = p.Pending
		}
		_, _ = fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", inert(p.ID), inert(p.Name), p.Protocol, p.State, p.From, p.Join, pending)
	}
	return tw.Flush()
}

func newProviderChanges(a *app) *cobra.Command {
	var path string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "changes",
		Short: "List changed metadata that waits for approval",
		Long: `List what identity providers have changed in their metadata (metadata_url) and
what waits for approval: new signing certificates by their SHA-256 fingerprints,
new addresses. Compare them with what the identity provider's own console shows.

Until a change is approved the certificates and addresses from before are used.
What is only gone from the metadata is gone here at once and is not listed.`,
		Example: `  ssogate provider changes
  ssogate provider changes --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withControl(cmd.Context(), path, func(_ *config.Config, control *run.Control) error {
				list, err := control.Providers.Changes(cmd.Context())
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(a.stdout, list)
				}
				printChanges(a.stdout, list)
				return nil
			})
		},
	}
	configFlag(cmd, &path)
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

func printChanges(w io.Writer, list []saml.Change) {
	if len(list) == 0 {
		_, _ = fmt.Fprintln(w, "nothing waits for approval")
	}
	for _, c := range list {
		_, _ = fmt.Fprintf(w, "%s  seen %s\n", c.Provider, stamp(c.Seen, "-"))
		for _, d := range c.Differences {
			_, _ = fmt.Fprintf(w, "  %s\n", d.What)
			if d.Old != "" {
				_, _ = fmt.Fprintf(w, "    old  %s\n", inert(d.Old))
			}
			if d.New != "" {
				_, _ = fmt.Fprintf(w, "    new  %s\n", inert(d.New))
			}
		}
		_, _ = fmt.Fprintf(w, "  ssogate provider approve %s --digest %s\n", c.Provider, c.Digest)
	}
}

// newProviderDecision is "approve" or "reject".
func newProviderDecision(a *app, approve bool) *cobra.Command {
	var path, digest string
	use, short, done := "approve", "Use changed metadata", "is used now"
	long := `Approve the change that "ssogate provider changes" lists under this digest: every
node uses the new certificates and addresses when the command returns. Those that
the identity provider no longer publishes are not used any more.`
	if !approve {
		use, short, done = "reject", "Refuse changed metadata", "is rejected: what was used before stays in use"
		long = `Reject the change that "ssogate provider changes" lists under this digest. The
same metadata is not asked about again; metadata that differs from it is.`
	}
	cmd := &cobra.Command{
		Use:     use + " PROVIDER --digest DIGEST",
		Short:   short,
		Long:    long,
		Example: "  ssogate provider " + use + " okta --digest 0f1e2d3c4b5a69788796a5b4c3d2e1f0",
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &usageError{cmd.CommandPath(), errors.New("name one provider")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			if digest == "" {
				return &usageError{cmd.CommandPath(), errors.New("say which change with --digest, as \"ssogate provider changes\" shows it: what is approved is what you have looked at")}
			}
			return a.withControl(cmd.Context(), path, func(_ *config.Config, control *run.Control) error {
				d := run.ChangeDecision{Actor: operator(), Provider: args[0], Digest: digest, Approve: approve}
				if err := control.Providers.Decide(cmd.Context(), d); err != nil {
					return err
				}
				_, _ = fmt.Fprintf(a.stdout, "the change of %s %s\n", inert(args[0]), done)
				return nil
			})
		},
	}
	configFlag(cmd, &path)
	cmd.Flags().StringVar(&digest, "digest", "", "digest of the change (required)")
	return cmd
}
