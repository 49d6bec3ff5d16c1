package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
	"github.com/ssogate/ssogate/config"
)

func newOwner(a *app) *cobra.Command {
	cmd := group("owner", "Make and repair fallback owners", `Make and repair fallback owners: owners who get into the console with a password and
a one-time code while the identity provider cannot be used. The first one is also who
sets the gateway up. Works while ssogate runs and while it does not.`)
	cmd.AddCommand(newOwnerCreate(a), newOwnerRecover(a), newOwnerCodes(a))
	return cmd
}

func oneOwner(cmd *cobra.Command, args []string) error {
	if len(args) != 1 || strings.TrimSpace(args[0]) == "" {
		return &usageError{cmd.CommandPath(), errors.New("give the user name of one fallback owner")}
	}
	return nil
}

// ownerLink is what create and recover share: they print a link that opens once.
func (a *app) ownerLink(ctx context.Context, path string, asJSON bool, make func(run.OwnerAdmin) (run.OwnerLink, error)) error {
	return a.withControl(ctx, path, func(_ *config.Config, c *run.Control) error {
		l, err := make(c.Owners)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(a.stdout, l)
		}
		_, _ = fmt.Fprintln(a.stdout, l.URL)
		_, _ = fmt.Fprintf(a.stderr, "Open this link to set the password of %s. It works once, until %s; whoever opens it is an owner.\n", inert(l.UserName), stamp(l.Expires, ""))
		return nil
	})
}

func newOwnerCreate(a *app) *cobra.Command {
	var path string
	var asJSON bool
	o := run.NewOwner{Actor: operator()}
	cmd := &cobra.Command{
		Use:   "create NAME",
		Short: "Make a fallback owner, and a link to set his password",
		Long: `Make a fallback owner. The link goes to standard output and works once, for 24 hours:
its page sets the password and shows ten recovery codes. The e-mail address is told
whenever a fallback owner signs in.`,
		Example: `  ssogate owner create rescue --email it@example.com`,
		Args:    oneOwner,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.UserName = args[0]
			return a.ownerLink(cmd.Context(), path, asJSON, func(c run.OwnerAdmin) (run.OwnerLink, error) { return c.Create(cmd.Context(), o) })
		},
	}
	f := cmd.Flags()
	f.StringVar(&o.Email, "email", "", "where he is told of sign-ins")
	f.StringVar(&o.DisplayName, "name", "", "his name, for people")
	f.BoolVar(&asJSON, "json", false, "as JSON")
	configFlag(cmd, &path)
	return cmd
}

func newOwnerRecover(a *app) *cobra.Command {
	var path string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "recover NAME",
		Short: "Make a new link for a fallback owner who cannot get in",
		Long: `Make a new link to set the password of a fallback owner, and make him an owner who
may come in again, whatever was done to him. Links made before end at once; his
password and codes go on until the new ones are set, and then end with all of his
sessions.`,
		Example: `  ssogate owner recover rescue`,
		Args:    oneOwner,
		RunE: func(cmd *cobra.Command, args []string) error {
			o := run.NewOwner{Actor: operator(), UserName: args[0]}
			return a.ownerLink(cmd.Context(), path, asJSON, func(c run.OwnerAdmin) (run.OwnerLink, error) { return c.Recover(cmd.Context(), o) })
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	configFlag(cmd, &path)
	return cmd
}

func newOwnerCodes(a *app) *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "codes NAME",
		Short: "Exchange the recovery codes of a fallback owner",
		Long: `Make ten new recovery codes for a fallback owner who knows his password, and print
them, this once. The ones before end.`,
		Example: `  ssogate owner codes rescue`,
		Args:    oneOwner,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withControl(cmd.Context(), path, func(_ *config.Config, c *run.Control) error {
				codes, err := c.Owners.Codes(cmd.Context(), run.NewOwner{Actor: operator(), UserName: args[0]})
				if err != nil {
					return err
				}
				_, _ = fmt.Fprintln(a.stdout, strings.Join(codes, "\n"))
				_, _ = fmt.Fprintln(a.stderr, "Each works once, with the password. They are shown only now.")
				return nil
			})
		},
	}
	configFlag(cmd, &path)
	return cmd
}
