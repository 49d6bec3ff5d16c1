package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/scim"
)

func newSCIM(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "scim",
		Short: "Manage SCIM provisioning",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	token := &cobra.Command{
		Use:   "token",
		Short: "Create, list and revoke bearer tokens",
		Long: `Create, list and revoke the bearer tokens with which an identity provider
provisions. Works while ssogate runs: several tokens are good at once, so a new
one can be in place before the old one is revoked.`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	token.AddCommand(newTokenCreate(a), newTokenList(a), newTokenRevoke(a))
	cmd.AddCommand(token)
	return cmd
}

// withTokens opens what a token command works on.
func (a *app) withTokens(ctx context.Context, path string, do func(*config.Config, run.TokenAdmin) error) error {
	return a.withControl(ctx, path, func(c *config.Config, control *run.Control) error {
		if len(c.SCIM.Connections) == 0 {
			return errors.New("no SCIM connection is configured: add one under scim.connections")
		}
		return do(c, control.Tokens)
	})
}

// connection is the one meant: named, or the only one there is.
func connection(c *config.Config, provider string) (string, error) {
	var known []string
	for _, sc := range c.SCIM.Connections {
		if sc.Provider == provider || provider == "" && len(c.SCIM.Connections) == 1 {
			return sc.Provider, nil
		}
		known = append(known, sc.Provider)
	}
	if provider == "" {
		return "", fmt.Errorf("say which connection with --provider: %q", known)
	}
	return "", fmt.Errorf("no SCIM connection %q; there are %q", provider, known)
}

func newTokenCreate(a *app) *cobra.Command {
	var path, provider, name string
	var expires time.Duration
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make a bearer token and print it once",
		Long: `Make a bearer token for the identity provider's provisioning client. The token
goes to standard output, only now; ssogate keeps its hash. The SCIM base URL to
paste beside it goes to standard error.`,
		Example: `  ssogate scim token create --provider okta --name "Okta production"
  ssogate scim token create --name 2027 --expires 8760h`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withTokens(cmd.Context(), path, func(c *config.Config, t run.TokenAdmin) error {
				conn, err := connection(c, provider)
				if err != nil {
					return err
				}
				n := run.NewToken{Connection: conn, Name: name, Creator: operator()}
				if expires < 0 {
					return errors.New("--expires must lie ahead")
				}
				if expires > 0 {
					n.Expires = time.Now().Add(expires).UTC()
				}
				token, _, err := t.Create(cmd.Context(), n)
				if err != nil {
					return err
				}
				_, _ = fmt.Fprintln(a.stdout, token)
				_, _ = fmt.Fprintf(a.stderr, "This token is shown only now. Paste it at the identity provider together with the SCIM base URL\n  %s\n", c.URL+scim.Mount+c.Organization.Slug+"/scim/v2")
				return nil
			})
		},
	}
	configFlag(cmd, &path)
	cmd.Flags().StringVar(&provider, "provider", "", "provider whose connection it is for (needed when there are several)")
	cmd.Flags().StringVar(&name, "name", "token", "what to call it in lists")
	cmd.Flags().DurationVar(&expires, "expires", 0, "lifetime, for example 8760h (default: does not expire)")
	return cmd
}

func newTokenList(a *app) *cobra.Command {
	var path, provider string
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List tokens: never the tokens themselves",
		Long: `List the tokens made with "create": id, name, who made each, when it expires,
and when and from where it was last used. Tokens declared in the config file are
not listed; they live there.`,
		Example: `  ssogate scim token list`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withTokens(cmd.Context(), path, func(c *config.Config, t run.TokenAdmin) error {
				conn, err := connection(c, provider)
				if err != nil {
					return err
				}
				list, err := t.List(cmd.Context(), conn)
				if err != nil {
					return err
				}
				printTokens(a.stdout, list)
				return nil
			})
		},
	}
	configFlag(cmd, &path)
	cmd.Flags().StringVar(&provider, "provider", "", "provider whose tokens to list (needed when there are several)")
	return cmd
}

func printTokens(w io.Writer, list []scim.StoredToken) {
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(tw, "ID\tNAME\tCREATED\tBY\tEXPIRES\tLAST USED\tFROM")
	for _, t := range list {
		_, _ = fmt.Fprintf(tw, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", t.ID, inert(t.Name), stamp(t.Created, ""), inert(t.Creator),
			stamp(t.Expires, "never"), stamp(t.LastUsed, "never"), inert(t.LastAddr))
	}
	_ = tw.Flush()
}

func newTokenRevoke(a *app) *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "revoke ID",
		Short: "Revoke a token at once",
		Long: `Revoke a token: the next request that carries it is refused. The identity
provider's connection goes on with any other token it holds.`,
		Example: `  ssogate scim token revoke tok_3f2a`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &usageError{cmd.CommandPath(), errors.New("give the ID of one token; \"ssogate scim token list\" shows them")}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withTokens(cmd.Context(), path, func(_ *config.Config, t run.TokenAdmin) error {
				if err := t.Revoke(cmd.Context(), operator(), args[0]); err != nil {
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
