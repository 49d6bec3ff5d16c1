package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/machine"
)

func newMachine(a *app) *cobra.Command {
	cmd := group("machine-token", "Create, list and revoke service tokens of programs", `Create, list and revoke the tokens with which programs, that have no browser to
sign in with, use an application: "Authorization: Bearer TOKEN". A token is for the
routes that it names, and they take it where machines.tokens is set. Works while
ssogate runs: several tokens are good at once, so a new one can be in place before
the old one is revoked.`)
	cmd.AddCommand(newMachineCreate(a), newMachineList(a), newMachineRevoke(a))
	return cmd
}

func newMachineCreate(a *app) *cobra.Command {
	var path string
	var n machine.New
	var expires time.Duration
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make a token for a program and print it once",
		Long: `Make a service token. It goes to standard output, only now; ssogate keeps its
hash. Applications see who uses it as machine:NAME, and its teams as groups. Rules
of access that ask for teams are met by its teams; those that ask for members, roles
or the like never are.`,
		Example: `  ssogate machine-token create --name deploy --route api --expires 2160h
  ssogate machine-token create --name reports --route api --route files --team finance`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if expires < 0 {
				return errors.New("--expires must lie ahead")
			}
			if expires > 0 {
				n.Expires = time.Now().Add(expires).UTC()
			}
			n.Creator = operator()
			return a.withControl(cmd.Context(), path, func(c *config.Config, control *run.Control) error {
				if err := run.CheckTokenRoutes(c, n.Routes); err != nil {
					return err
				}
				token, stored, err := control.Machines.Create(cmd.Context(), n)
				if err != nil {
					return err
				}
				_, _ = fmt.Fprintln(a.stdout, token)
				_, _ = fmt.Fprintf(a.stderr, "This token is shown only now. It is for %s; revoke it with \"ssogate machine-token revoke %s\".\n",
					strings.Join(stored.Routes, ", "), stored.ID)
				return nil
			})
		},
	}
	f := cmd.Flags()
	f.StringVar(&n.Name, "name", "", "what the machine is called, by applications and rules too (required)")
	f.StringArrayVar(&n.Routes, "route", nil, "name of a route that it may use; repeat it for several (required)")
	f.StringArrayVar(&n.Teams, "team", nil, "slug of a team that it counts as being in; repeat it for several")
	f.DurationVar(&expires, "expires", 0, "lifetime, for example 2160h (default: does not expire)")
	configFlag(cmd, &path)
	return cmd
}

func newMachineList(a *app) *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List tokens: never the secrets themselves",
		Long: `List the service tokens: id, machine, routes, teams, who made each, when it expires,
and when and from where it was last used. That is written down once a minute, so the
last one may be some seconds old.`,
		Example: `  ssogate machine-token list`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withControl(cmd.Context(), path, func(_ *config.Config, control *run.Control) error {
				list, err := control.Machines.List(cmd.Context())
				if err != nil {
					return err
				}
				printMachines(a.stdout, list)
				return nil
			})
		},
	}
	configFlag(cmd, &path)
	return cmd
}

func printMachines(w io.Writer, list []machine.Token) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(tw, "ID\tNAME\tROUTES\tTEAMS\tCREATED\tBY\tEXPIRES\tLAST USED\tFROM")
	for _, t := range list {
		teams := "-"
		if len(t.Teams) > 0 {
			teams = strings.Join(t.Teams, ",")
		}
		_, _ = fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", t.ID, inert(t.Name), inert(strings.Join(t.Routes, ",")), inert(teams),
			stamp(t.Created, ""), inert(t.Creator), stamp(t.Expires, "never"), stamp(t.LastUsed, "never"), inert(t.LastAddr))
	}
	_ = tw.Flush()
}

func newMachineRevoke(a *app) *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "revoke ID",
		Short: "Revoke a token at once, and cut what runs with it",
		Long: `Revoke a service token. When the command has ended well, no node takes it any
more, and the requests and streams that it had running have been cut. After any
other end run it again: it waits for the same revocation.`,
		Example: `  ssogate machine-token revoke 3f2a9c01d4e5b678`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &usageError{cmd.CommandPath(), errors.New(`give the ID of one token; "ssogate machine-token list" shows them`)}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withControl(cmd.Context(), path, func(_ *config.Config, control *run.Control) error {
				if err := control.Machines.Revoke(cmd.Context(), operator(), args[0]); err != nil {
					return err
				}
				_, _ = fmt.Fprintln(a.stdout, "revoked")
				return nil
			})
		},
	}
	configFlag(cmd, &path)
	return cmd
}
