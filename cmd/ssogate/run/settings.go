package run

import (
	"context"
	"fmt"
	"os"

	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/settings"
)

// settingsFrom turns the boot file into the live Auth record. The two never
// share a type: what an operator writes and what a decision reads change for
// different reasons.
func settingsFrom(c *config.Config) (*settings.Settings, error) {
	s := &settings.Settings{
		Version:      1,
		Organization: settings.Organization{Slug: c.Organization.Slug, Name: c.Organization.Name, Support: c.Organization.Support},
		RequireSSO:   c.RequireSSO == "on",
	}
	for _, p := range c.Providers {
		sp, err := providerFrom(p)
		if err != nil {
			return nil, err
		}
		s.Providers = append(s.Providers, sp)
	}
	for _, sc := range c.SCIM.Connections {
		conn := settings.Connection{Connection: member.Connection{
			ID: sc.Provider, Provider: sc.Provider, Activation: member.Activation(c.SCIM.Activation),
			Match: member.Match(sc.Match), MaySetRole: sc.MaySetRole,
		}, Strict: sc.Profile == config.ProfileStrict}
		for _, t := range sc.Tokens {
			conn.Tokens = append(conn.Tokens, settings.Token{Name: t.Name, Hash: secret.Sum(t.Token).String()})
		}
		s.Connections = append(s.Connections, conn)
	}
	return s, nil
}

func providerFrom(p config.Provider) (settings.Provider, error) {
	sp := settings.Provider{
		ID: p.ID, Name: p.Name, Preset: settings.Preset(p.Preset), Protocol: settings.Protocol(p.Protocol),
		Join: member.Join(p.Join), Groups: settings.GroupsUse(p.Groups), Domains: p.Domains, Active: true,
		SAML: settings.SAMLProvider{
			MetadataURL: p.MetadataURL, EntityID: p.EntityID, SSOURL: p.SSOURL, SLOURL: p.SLOURL,
			AutoAccept: p.AutoAccept, Binding: settings.Binding(p.Binding), UnsignedRequests: p.UnsignedRequests, ForceAuthn: p.ForceAuthn,
			NameIDFormat: p.NameIDFormat, AuthnContext: p.AuthnContext, InsecureAllowSHA1: p.InsecureAllowSHA1,
		},
		OIDC: settings.OIDCProvider{
			Issuer: p.Issuer, ClientID: p.ClientID, ClientSecret: p.ClientSecret, Scopes: p.Scopes, Recheck: p.Recheck,
			HostedDomains: p.HostedDomains, DirectoryAdmin: p.DirectoryAdmin,
		},
		GitHub: settings.GitHubProvider{BaseURL: p.BaseURL, Organizations: p.Organizations, Teams: p.Teams},
		Attributes: settings.Attributes{
			Subject: p.Attributes.Subject, Groups: p.Attributes.Groups,
			UserName: p.Attributes.UserName, Email: p.Attributes.Email, DisplayName: p.Attributes.DisplayName,
			GivenName: p.Attributes.GivenName, FamilyName: p.Attributes.FamilyName,
		},
	}
	if p.UnverifiedEmail == config.UnverifiedEmailDrop {
		sp.OIDC.UnverifiedEmail = settings.DropUnverifiedEmail
	}
	if p.MetadataFile != "" {
		xml, err := os.ReadFile(p.MetadataFile)
		if err != nil {
			return sp, fmt.Errorf("run: metadata of provider %s: %w", p.ID, err)
		}
		sp.SAML.MetadataXML = xml
	}
	if p.DirectoryKeyFile != "" {
		key, err := os.ReadFile(p.DirectoryKeyFile)
		if err != nil {
			return sp, fmt.Errorf("run: directory key of provider %s: %w", p.ID, err)
		}
		sp.OIDC.DirectoryKey = key
	}
	for _, f := range p.CertificateFiles {
		pem, err := os.ReadFile(f)
		if err != nil {
			return sp, fmt.Errorf("run: certificate of provider %s: %w", p.ID, err)
		}
		sp.SAML.Certificates = append(sp.SAML.Certificates, string(pem))
	}
	return sp, nil
}

// heldSettings are the settings of this process, as the sessions ask for them.
type heldSettings struct{ live *settings.Live }

// Version implements session.Settings.
func (h heldSettings) Version() int64 { return h.live.Load().Version }

// Reload implements session.Settings. The settings of this version come from the
// config file alone. A database with later ones was written by a newer ssogate
// beside this one: to decide by the older copy would be wrong, so nobody is
// admitted here until this node is replaced too.
func (h heldSettings) Reload(_ context.Context, atLeast int64) error {
	if have := h.Version(); have < atLeast {
		return fmt.Errorf("run: the database holds settings of version %d, this node has %d: replace it with the newer ssogate that wrote them", atLeast, have)
	}
	return nil
}

// reload is what a Reload row asks for, before it is acknowledged.
func (s *Server) reload(ctx context.Context, what string) error {
	switch what {
	case member.ReloadKeys:
		return s.cookies.Reload(ctx)
	case member.ReloadMetadata:
		return s.reloadMetadata(ctx)
	case member.ReloadSettings:
	default:
		return nil
	}
	var version int64
	err := s.db.View(ctx, func(tx member.Tx) (err error) {
		version, err = tx.SettingsVersion()
		return err
	})
	if err != nil {
		return err
	}
	return heldSettings{s.settings}.Reload(ctx, version)
}
