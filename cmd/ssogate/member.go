package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/member"
)

func newMember(a *app) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "member",
		Short: "Show members and link them to identities",
		Args:  noArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(newMemberShow(a), newMemberLink(a), newMemberUnlink(a), newMemberReadmit(a))
	return cmd
}

// aboutMember is what the commands share: one member, the control, the output.
func (a *app) aboutMember(ctx context.Context, path string, asJSON bool, do func(*config.Config, run.MemberAdmin) (run.MemberInfo, error)) error {
	return a.withControl(ctx, path, func(c *config.Config, control *run.Control) error {
		m, err := do(c, control.Members)
		if err != nil {
			return err
		}
		if asJSON {
			return printJSON(a.stdout, m)
		}
		printMember(a.stdout, m)
		return nil
	})
}

func printMember(w io.Writer, m run.MemberInfo) {
	line := func(label, value string) {
		if value != "" {
			_, _ = fmt.Fprintf(w, "%-13s %s\n", label, inert(value))
		}
	}
	line("id", string(m.ID))
	line("user name", m.UserName)
	line("display name", m.DisplayName)
	line("e-mail", m.Email)
	line("state", string(m.State))
	line("role", string(m.Role))
	line("source", string(m.Source))
	line("connection", m.Connection)
	line("teams", strings.Join(m.Teams, " "))
	if len(m.Identities) == 0 {
		line("identities", "none: nobody can sign in as this member by SSO")
	}
	for _, i := range m.Identities {
		line("identity", i.Provider+"  "+i.Issuer+"  "+i.Subject)
	}
}

func newMemberShow(a *app) *cobra.Command {
	var path string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "show MEMBER",
		Short: "Show a member, his teams and his identities",
		Long: `Show a member (id or user name): his state and role, where he comes from, his teams by the
slugs that routes name, and the identities by which he signs in.`,
		Example: `  ssogate member show ana@example.com`,
		Args:    oneMember,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.aboutMember(cmd.Context(), path, asJSON, func(_ *config.Config, m run.MemberAdmin) (run.MemberInfo, error) {
				return m.Show(cmd.Context(), args[0])
			})
		},
	}
	configFlag(cmd, &path)
	cmd.Flags().BoolVar(&asJSON, "json", false, "as JSON")
	return cmd
}

// identityFlags are those of the commands that name an identity.
type identityFlags struct {
	path, provider, issuer, subject string
	asJSON                          bool
}

// known refuses a provider that is not configured: a link to it could never be used.
func (f *identityFlags) known(c *config.Config) error {
	if f.provider == "" {
		return errors.New("say which identity provider with --provider")
	}
	var ids []string
	for _, p := range c.Providers {
		if p.ID == f.provider {
			return nil
		}
		ids = append(ids, p.ID)
	}
	return fmt.Errorf("no provider %q in the config; there are: %s", f.provider, strings.Join(ids, ", "))
}

func (f *identityFlags) complete(c *config.Config) (member.Identity, error) {
	if err := f.known(c); err != nil {
		return member.Identity{}, err
	}
	for _, p := range c.Providers {
		if p.ID != f.provider || f.issuer != "" {
			continue
		}
		switch p.Protocol {
		case config.ProtocolOIDC:
			f.issuer = p.Issuer
		case config.ProtocolGitHub:
			f.issuer = strings.TrimSuffix(p.BaseURL, "/")
		default:
			f.issuer = p.EntityID
		}
	}
	switch {
	case f.issuer == "":
		return member.Identity{}, errors.New("say the issuer with --issuer: the Entity ID of the identity provider, as in its metadata")
	case f.subject == "":
		return member.Identity{}, errors.New("say the subject with --subject: what identifies the person there (NameID, sub, or GitHub's numeric id)")
	}
	return member.Identity{Provider: f.provider, Issuer: f.issuer, Subject: f.subject}, nil
}

func newMemberLink(a *app) *cobra.Command {
	var f identityFlags
	cmd := &cobra.Command{
		Use:   "link MEMBER --provider ID --subject SUBJECT [--issuer ISSUER]",
		Short: "Let an identity sign in as a member",
		Long: `Link an identity to a member (id or user name): whoever the identity provider names by
this subject signs in as him from then on. Check it twice: nothing else ever links an
account by anybody's word. A member has one identity at each provider.`,
		Example: `  ssogate member link ana@example.com --provider github --subject 583231
  ssogate member link ana@example.com --provider okta --issuer http://www.okta.com/abc --subject ana@example.com`,
		Args: oneMember,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.aboutMember(cmd.Context(), f.path, f.asJSON, func(c *config.Config, m run.MemberAdmin) (run.MemberInfo, error) {
				i, err := f.complete(c)
				if err != nil {
					return run.MemberInfo{}, err
				}
				return m.Link(cmd.Context(), run.LinkMember{Actor: operator(), Who: args[0], Identity: i})
			})
		},
	}
	f.flags(cmd)
	cmd.Flags().StringVar(&f.issuer, "issuer", "", "issuer of the identity (default: the provider's, where the config names it)")
	return cmd
}

func (f *identityFlags) flags(cmd *cobra.Command) {
	f.providerFlags(cmd)
	cmd.Flags().StringVar(&f.subject, "subject", "", "what identifies the person there")
}

func (f *identityFlags) providerFlags(cmd *cobra.Command) {
	configFlag(cmd, &f.path)
	cmd.Flags().StringVar(&f.provider, "provider", "", "identity provider, by its id in the config (required)")
	cmd.Flags().BoolVar(&f.asJSON, "json", false, "as JSON")
}

func newMemberUnlink(a *app) *cobra.Command {
	var f identityFlags
	cmd := &cobra.Command{
		Use:   "unlink MEMBER --provider ID",
		Short: "Take an identity from a member and end its sessions",
		Long: `Unlink a member (id or user name) from his identity at a provider. His sessions through
that provider end everywhere before the command answers. It is not how to keep somebody
out: where the provider's join is "idp" he may come back as a new member.`,
		Example: `  ssogate member unlink ana@example.com --provider github`,
		Args:    oneMember,
		RunE: func(cmd *cobra.Command, args []string) error {
			return a.aboutMember(cmd.Context(), f.path, f.asJSON, func(_ *config.Config, m run.MemberAdmin) (run.MemberInfo, error) {
				// Not only providers of the config: one that is gone has left identities behind.
				if f.provider == "" {
					return run.MemberInfo{}, errors.New("say which identity provider with --provider")
				}
				return m.Unlink(cmd.Context(), run.LinkMember{Actor: operator(), Who: args[0], Identity: member.Identity{Provider: f.provider}})
			})
		},
	}
	f.providerFlags(cmd)
	return cmd
}

func newMemberReadmit(a *app) *cobra.Command {
	var f identityFlags
	cmd := &cobra.Command{
		Use:   "readmit --provider ID --subject NAME",
		Short: "Let somebody join again whom an identity provider removed",
		Long: `Clear the mark of a person whom the identity provider removed over SCIM. Until it is
cleared, or the provider creates the user again, he cannot come back. NAME is what the
provider calls him: his NameID, user name or external id.`,
		Example: `  ssogate member readmit --provider okta --subject ana@example.com`,
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return a.withControl(cmd.Context(), f.path, func(c *config.Config, control *run.Control) error {
				if f.subject == "" {
					return errors.New("say whom with --subject: what the provider calls the person")
				}
				if err := f.known(c); err != nil {
					return err
				}
				n, err := control.Members.Readmit(cmd.Context(), run.LinkMember{
					Actor: operator(), Identity: member.Identity{Provider: f.provider, Issuer: f.issuer, Subject: f.subject},
				})
				switch {
				case err != nil:
					return err
				case n == 0:
					return fmt.Errorf("nobody whom %s calls %q was removed", f.provider, f.subject)
				case f.asJSON:
					return printJSON(a.stdout, map[string]int{"cleared": n})
				}
				_, _ = fmt.Fprintf(a.stdout, "%s may join again\n", inert(f.subject))
				return nil
			})
		},
	}
	f.flags(cmd)
	cmd.Flags().StringVar(&f.issuer, "issuer", "", "issuer of the identity, for a subject that is no user name")
	return cmd
}
