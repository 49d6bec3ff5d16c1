package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
	"github.com/ssogate/ssogate/config"
)

// oneMember checks the argument of adopt and release.
func oneMember(cmd *cobra.Command, args []string) error {
	if len(args) != 1 {
		return &usageError{cmd.CommandPath(), errors.New("give the id or user name of one member")}
	}
	return nil
}

func newAdopt(a *app) *cobra.Command {
	return a.onConnection(&cobra.Command{
		Use:   "adopt MEMBER",
		Short: "Let an identity provider manage a member who is here already",
		Long: `Give a member (id or user name) to a SCIM connection: from then on the identity provider
sees, changes, deactivates and deletes him. Members who have signed in through that
provider are adopted by themselves when it provisions them; this is for all others, who
would be refused as "already taken". Id, role, teams and sessions stay.`,
		Example: `  ssogate scim adopt ana@example.com --provider okta`,
		Args:    oneMember,
	}, "connection takes him", func(ctx context.Context, control *run.Control, conn string, args []string) error {
		return a.handOver(ctx, control.SCIM, args[0], conn)
	})
}

func newRelease(a *app) *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "release MEMBER",
		Short: "Take a member out of an identity provider's hands",
		Long: `Take a member (id or user name) out of his SCIM connection: the identity provider sees
and changes him no more, and may make another user of that name only under another name.
If it had deactivated him he stays so.`,
		Example: `  ssogate scim release ana@example.com`,
		Args:    oneMember,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withSCIM(cmd.Context(), path, func(_ *config.Config, s run.SCIMAdmin) error {
				return a.handOver(cmd.Context(), s, args[0], "")
			})
		},
	}
	configFlag(cmd, &path)
	return cmd
}

// handOver gives a member to a connection, or to none.
func (a *app) handOver(ctx context.Context, s run.SCIMAdmin, who, conn string) error {
	m, err := s.Adopt(ctx, run.HandOver{Actor: operator(), Who: who, Connection: conn, Provider: conn})
	switch {
	case err != nil:
		return err
	case m.Connection == "":
		_, _ = fmt.Fprintf(a.stdout, "%s belongs to no connection any more\n", inert(m.UserName))
	default:
		_, _ = fmt.Fprintf(a.stdout, "%s belongs to %s now\n", inert(m.UserName), m.Connection)
	}
	return nil
}
