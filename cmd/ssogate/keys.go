package main

import (
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/internal/secret"
)

func newKeys(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "keys",
		Short: "List and rotate keys",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newKeyList(a), newKeyRotate(a), newKeyAssertion(a))
	return cmd
}

func newKeyList(a *app) *cobra.Command {
	var path string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List keys: never the keys themselves",
		Long: `List the keys of cookies and of secrets at rest by their ids: what each is used
for, its state, where it comes from, since when, and whether it is still needed.

Cookie keys go from next (every node accepts it, none uses it yet) to current
(makes new cookies), previous (its cookies are still good) and retired (its
cookies lead to a new sign-in). The metric cookies_by_key shows how many cookies
in use were made with each. Times are UTC.`,
		Example: `  ssogate keys list
  ssogate keys list --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withControl(cmd.Context(), path, func(_ *config.Config, control *run.Control) error {
				list, err := control.Keys.List(cmd.Context())
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(a.stdout, list)
				}
				printKeys(a.stdout, list)
				return nil
			})
		},
	}
	configFlag(cmd, &path)
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

func printKeys(w io.Writer, list []run.KeyInfo) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(tw, "ID\tUSE\tSTATE\tFROM\tSINCE\tNOTE")
	for _, k := range list {
		_, _ = fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\n", k.ID, k.Use, k.State, k.Source, stamp(k.Since, "-"), k.Note)
	}
	_ = tw.Flush()
}

func newKeyRotate(a *app) *cobra.Command {
	var path string
	var seal bool
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Make a new cookie key, or seal secrets with a new seal key",
		Long: `Make a new cookie key. Every node accepts it before any node uses it, so nobody
is signed out: cookies made with the key before stay good until their sessions
have ended (session.absolute), and then that key is retired by itself. When a
node does not confirm, the new key is not used; run the command again.

With --seal: seal everything at rest anew with secrets.seal_key. Give every node
the new key first, as secrets.seal_key_previous; then make it secrets.seal_key and
the old one secrets.seal_key_previous, node by node; then run this; then remove
secrets.seal_key_previous everywhere. Either may be interrupted and run again.`,
		Example: `  ssogate keys rotate
  ssogate keys rotate --seal`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withControl(cmd.Context(), path, func(c *config.Config, control *run.Control) error {
				if !seal {
					id, err := control.Keys.Rotate(cmd.Context(), operator())
					if err != nil {
						return err
					}
					_, _ = fmt.Fprintf(a.stdout, "cookie key %s: accepted by every node, and in use\n", id)
					return nil
				}
				r, err := control.Keys.Reseal(cmd.Context(), run.ResealKeys{Actor: operator(), Key: secret.KeyID(c.SealKeys()[0])})
				if err != nil {
					return err
				}
				_, _ = fmt.Fprintf(a.stdout, "seal key %s: %d values sealed anew, %d were already\n", r.Key, r.Changed, r.Already)
				_, _ = fmt.Fprintln(a.stdout, "secrets.seal_key_previous can be removed from all nodes")
				return nil
			})
		},
	}
	configFlag(cmd, &path)
	cmd.Flags().BoolVar(&seal, "seal", false, "seal secrets at rest anew with secrets.seal_key")
	return cmd
}
