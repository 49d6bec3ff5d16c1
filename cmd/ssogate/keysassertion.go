package main

import (
	"fmt"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/proxy/assertion"
)

func newKeyAssertion(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "assertion",
		Short: "Keys that sign what applications are told",
		Long: `The keys of routes with identity.assertion. One of each algorithm is made by itself
when a route first asks for it. Applications find them at /jwks.json on the
gateway's own origin.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newKeyAssertionList(a), newKeyAssertionRotate(a))
	return cmd
}

func newKeyAssertionList(a *app) *cobra.Command {
	var path string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the keys that are published: never the keys themselves",
		Long: `List the keys that are published, by their ids (kid): next (published, does not sign
yet), signs, previous (published until its tokens are over). Times are UTC.`,
		Example: `  ssogate keys assertion list
  ssogate keys assertion list --json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withControl(cmd.Context(), path, func(_ *config.Config, control *run.Control) error {
				list, err := control.Signing.List(cmd.Context())
				if err != nil {
					return err
				}
				if asJSON {
					return printJSON(a.stdout, list)
				}
				tw := tabwriter.NewWriter(a.stdout, 0, 0, 2, ' ', 0)
				_, _ = fmt.Fprintln(tw, "ID\tALGORITHM\tSTATE\tSIGNS FROM\tGONE FROM")
				for _, k := range list {
					_, _ = fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\n", k.ID, k.Algorithm, k.State, stamp(k.Signs, "-"), stamp(k.Gone, "-"))
				}
				return tw.Flush()
			})
		},
	}
	configFlag(cmd, &path)
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

func newKeyAssertionRotate(a *app) *cobra.Command {
	var path, algorithm string
	var atOnce bool
	cmd := &cobra.Command{
		Use:   "rotate",
		Short: "Make a new key, with overlap",
		Long: `Make a new key. It is published at once and signs ten minutes later, when every
application has had time to read it; the key before stays published until all its
tokens are over. Nothing else needs to be done.

With --at-once, for a key that somebody else may have: the new key signs now, and
all others are gone. Requests fail until their application has read the new keys:
within 30 seconds with package identity, later with others.`,
		Example: `  ssogate keys assertion rotate
  ssogate keys assertion rotate --algorithm RS256 --at-once`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withControl(cmd.Context(), path, func(_ *config.Config, control *run.Control) error {
				k, err := control.Signing.Rotate(cmd.Context(), assertion.Rotation{Actor: operator(), Algorithm: assertion.Algorithm(algorithm), AtOnce: atOnce})
				if err != nil {
					return err
				}
				if atOnce {
					_, _ = fmt.Fprintf(a.stdout, "key %s: signs now, and all others are gone\n", k.ID)
					return nil
				}
				_, _ = fmt.Fprintf(a.stdout, "key %s: published, and signs from %s on\n", k.ID, stamp(k.Signs, "-"))
				return nil
			})
		},
	}
	configFlag(cmd, &path)
	cmd.Flags().StringVar(&algorithm, "algorithm", string(assertion.ES256), "ES256 or RS256")
	cmd.Flags().BoolVar(&atOnce, "at-once", false, "the new key signs now, and all others are gone")
	return cmd
}
