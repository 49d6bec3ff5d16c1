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
	token := group("token", "Create, list and revoke bearer tokens", `Create, list and revoke the bearer tokens with which an identity provider
provisions. Works while ssogate runs: several tokens are good at once, so a new
one can be in place before the old one is revoked.`)
	token.AddCommand(newTokenCreate(a), newTokenList(a, bearerWords), newTokenRevoke(a, bearerWords))
	client := group("client", "Create, list and revoke OAuth 2.0 clients", `Create, list and revoke the OAuth 2.0 clients of identity providers that fetch an
access token themselves (client credentials, as Microsoft Entra's gallery does)
instead of holding a bearer token. Revoking one ends its access tokens at once.`)
	client.AddCommand(newClientCreate(a), newTokenList(a, clientWords), newTokenRevoke(a, clientWords))
	cmd.AddCommand(token, client, newPause(a), newResume(a), newSCIMStatus(a), newSCIMLog(a), newSCIMDrift(a), newAdopt(a), newRelease(a))
	return cmd
}

func group(use, short, long string) *cobra.Command {
	return &cobra.Command{
		Use: use, Short: short, Long: long, Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
}

var errNoConnection = errors.New("no SCIM connection is configured: add one under scim.connections")

// withSCIM opens what a scim command works on.
func (a *app) withSCIM(ctx context.Context, path string, do func(*config.Config, run.SCIMAdmin) error) error {
	return a.withControl(ctx, path, func(c *config.Config, control *run.Control) error {
		if len(c.SCIM.Connections) == 0 {
			return errNoConnection
		}
		return do(c, control.SCIM)
	})
}

// onConnection makes cmd one about a single connection: --provider names it where
// there are several. what ends that flag's help: "provider whose connection ...".
func (a *app) onConnection(cmd *cobra.Command, what string, do func(ctx context.Context, control *run.Control, conn string, args []string) error) *cobra.Command {
	var path, provider string
	configFlag(cmd, &path)
	cmd.Flags().StringVar(&provider, "provider", "", "provider whose "+what+" (needed when there are several)")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		return a.withControl(cmd.Context(), path, func(c *config.Config, control *run.Control) error {
			conn, err := connection(c, provider)
			if err != nil {
				return err
			}
			return do(cmd.Context(), control, conn, args)
		})
	}
	return cmd
}

// words are what tokens and clients are called in help and lists.
type words struct {
	kind             run.TokenKind
	one, many, extra string
	example          string
}

var (
	bearerWords = words{
		kind: run.BearerToken, one: "token", many: "tokens", example: "3f2a9c01d4e5b678",
		extra: "\nTokens declared in the config file are\nnot listed; they live there.",
	}
	clientWords = words{kind: run.OAuthClient, one: "client", many: "clients", example: "scim-client-a1b2"}
)

// connection is the one meant: named, or the only one there is.
func connection(c *config.Config, provider string) (string, error) {
	var known []string
	for _, sc := range c.SCIM.Connections {
		if sc.Provider == provider || provider == "" && len(c.SCIM.Connections) == 1 {
			return sc.Provider, nil
		}
		known = append(known, sc.Provider)
	}
	if known == nil {
		return "", errNoConnection
	}
	if provider == "" {
		return "", fmt.Errorf("say which connection with --provider: %q", known)
	}
	return "", fmt.Errorf("no SCIM connection %q; there are %q", provider, known)
}

// making is what the two create commands share.
type making struct {
	path, provider, name string
	expires              time.Duration
}

func (m *making) flags(cmd *cobra.Command, name string) {
	configFlag(cmd, &m.path)
	cmd.Flags().StringVar(&m.provider, "provider", "", "provider whose connection it is for (needed when there are several)")
	cmd.Flags().StringVar(&m.name, "name", name, "what to call it in lists")
	cmd.Flags().DurationVar(&m.expires, "expires", 0, "lifetime, for example 8760h (default: does not expire)")
}

func (m *making) create(ctx context.Context, a *app, kind run.TokenKind, show func(c *config.Config, secret string, stored scim.StoredToken)) error {
	return a.withSCIM(ctx, m.path, func(c *config.Config, s run.SCIMAdmin) error {
		conn, err := connection(c, m.provider)
		if err != nil {
			return err
		}
		n := run.NewToken{Kind: kind, Connection: conn, Name: m.name, Creator: operator()}
		if m.expires < 0 {
			return errors.New("--expires must lie ahead")
		}
		if m.expires > 0 {
			n.Expires = time.Now().Add(m.expires).UTC()
		}
		secret, stored, err := s.Create(ctx, n)
		if err != nil {
			return err
		}
		show(c, secret, stored)
		return nil
	})
}

// scimURL is what an administrator pastes at the identity provider.
func scimURL(c *config.Config) string { return c.URL + scim.Mount + c.Organization.Slug + "/scim/v2" }

func newTokenCreate(a *app) *cobra.Command {
	var m making
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
			return m.create(cmd.Context(), a, run.BearerToken, func(c *config.Config, token string, _ scim.StoredToken) {
				_, _ = fmt.Fprintln(a.stdout, token)
				_, _ = fmt.Fprintf(a.stderr, "This token is shown only now. Paste it at the identity provider together with the SCIM base URL\n  %s\n", scimURL(c))
			})
		},
	}
	m.flags(cmd, "token")
	return cmd
}

func newClientCreate(a *app) *cobra.Command {
	var m making
	cmd := &cobra.Command{
		Use:   "create",
		Short: "Make an OAuth 2.0 client and print its secret once",
		Long: `Make an OAuth 2.0 client for an identity provider that fetches access tokens with
the client credentials grant. Client id and secret go to standard output, only
now; ssogate keeps the secret's hash. The addresses to paste beside them go to
standard error.`,
		Example: `  ssogate scim client create --provider entra --name "Entra gallery"`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return m.create(cmd.Context(), a, run.OAuthClient, func(c *config.Config, secret string, stored scim.StoredToken) {
				_, _ = fmt.Fprintf(a.stdout, "client id      %s\nclient secret  %s\n", stored.ID, secret)
				_, _ = fmt.Fprintf(a.stderr, "The secret is shown only now. Paste both at the identity provider together with\n  token endpoint  %s\n  SCIM base URL   %s\n",
					c.URL+scim.TokenPath, scimURL(c))
			})
		},
	}
	m.flags(cmd, "client")
	return cmd
}

func newTokenList(a *app, w words) *cobra.Command {
	return a.onConnection(&cobra.Command{
		Use:   "list",
		Short: "List " + w.many + ": never the secrets themselves",
		Long: "List the " + w.many + ` made with "create": id, name, who made each, when it expires,
and when and from where it was last used.` + w.extra,
		Example: `  ssogate scim ` + w.one + ` list`,
		Args:    noArgs,
	}, w.many+" to list", func(ctx context.Context, control *run.Control, conn string, _ []string) error {
		list, err := control.SCIM.List(ctx, w.kind, conn)
		if err != nil {
			return err
		}
		printTokens(a.stdout, list)
		return nil
	})
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

func newTokenRevoke(a *app, w words) *cobra.Command {
	var path string
	cmd := &cobra.Command{
		Use:   "revoke ID",
		Short: "Revoke a " + w.one + " at once",
		Long: "Revoke a " + w.one + `: the next request made with it is refused. The identity
provider's connection goes on with any other it holds.`,
		Example: `  ssogate scim ` + w.one + ` revoke ` + w.example,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) != 1 {
				return &usageError{cmd.CommandPath(), fmt.Errorf("give the ID of one %s; \"ssogate scim %s list\" shows them", w.one, w.one)}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.withSCIM(cmd.Context(), path, func(_ *config.Config, s run.SCIMAdmin) error {
				if err := s.Revoke(cmd.Context(), w.kind, operator(), args[0]); err != nil {
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
