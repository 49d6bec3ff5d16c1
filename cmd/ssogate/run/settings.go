package run

import (
	"context"
	"errors"
	"fmt"
	"os"
	"time"

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
type heldSettings struct{ s *Server }

// Version implements session.Settings.
func (h heldSettings) Version() int64 { return h.s.settings.Load().Version }

// Reload implements session.Settings. After it this node has at least that version or
// admits nobody: to decide by an older copy would be wrong (C11).
func (h heldSettings) Reload(ctx context.Context, atLeast int64) error {
	if h.Version() >= atLeast {
		return nil
	}
	if err := h.s.reloadSettings(ctx); err != nil {
		return err
	}
	if have := h.Version(); have < atLeast {
		return fmt.Errorf("run: the database holds settings of version %d, this node has %d: replace it with the newer ssogate that wrote them", atLeast, have)
	}
	return nil
}

// newVersions is the Manager of an installation. Its Revoker is set by who has one.
func newVersions(c *config.Config, store settings.Store, sealer *secret.Sealer) *settings.Manager {
	return &settings.Manager{
		Store: store, Sealer: sealer,
		// Only when it is needed: a metadata file that is gone must not keep a command
		// from ending sessions.
		File: func() ([]settings.Provider, error) {
			s, err := settingsFrom(c)
			if err != nil {
				return nil, err
			}
			return s.Providers, nil
		},
		Managed: func() (on, managed bool) {
			return c.RequireSSO == config.RequireSSOOn, c.RequireSSO != config.RequireSSOConsole
		},
	}
}

// loadSettings is the Auth record at start: the config file, and what was published.
func (s *Server) loadSettings(ctx context.Context) error {
	s.versions = newVersions(s.cfg, s.db, s.sealer)
	s.versions.Now = s.now
	// Read once: what an operator edits on disk takes effect at the next start, not
	// when somebody happens to publish something else.
	var err error
	if s.file, err = settingsFrom(s.cfg); err != nil {
		return err
	}
	s.versions.File = func() ([]settings.Provider, error) { return s.file.Providers, nil }
	next, err := s.readSettings(ctx)
	if err != nil {
		return err
	}
	s.settings.Store(next)
	for _, id := range next.Shadowed {
		s.log.Warn("a saved provider is not used: the config file declares one of the same id", "provider", id)
	}
	return nil
}

func (s *Server) readSettings(ctx context.Context) (*settings.Settings, error) {
	v, err := s.versions.Current(ctx)
	if err != nil {
		return nil, err
	}
	var fixed *bool
	if _, managed := s.versions.Managed(); managed {
		fixed = &s.file.RequireSSO
	}
	return settings.Merge(*s.file, fixed, v), nil
}

// reloadSettings makes what was published the settings of this node.
func (s *Server) reloadSettings(ctx context.Context) error {
	s.reloading.Lock()
	defer s.reloading.Unlock()
	next, err := s.readSettings(ctx)
	if err != nil {
		return err
	}
	if next.Version > s.settings.Load().Version {
		s.apply(ctx, next)
		s.log.Info("settings were published", "version", next.Version, "providers", len(next.Providers), "require_sso", next.RequireSSO)
	}
	return nil
}

// reload is what a Reload row asks for, before it is acknowledged.
func (s *Server) reload(ctx context.Context, what string) error {
	switch what {
	case member.ReloadKeys:
		return errors.Join(s.cookies.Reload(ctx), s.reloadSPKeys(ctx), s.signing.Load(ctx))
	case member.ReloadMetadata:
		return s.reloadMetadata(ctx)
	case member.ReloadSettings:
		return s.reloadSettings(ctx)
	default:
		return nil
	}
}

// revertEvery is how often a node looks whether Require SSO was not confirmed in time.
const revertEvery = 5 * time.Second

// revertUnconfirmed turns Require SSO off again where nobody has confirmed it (G5).
func (s *Server) revertUnconfirmed(ctx context.Context) {
	tick := time.NewTicker(revertEvery)
	defer tick.Stop()
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if _, managed := s.versions.Managed(); managed || !s.settings.Load().RequireSSO {
			continue
		}
		did, err := s.versions.Revert(ctx)
		if did {
			s.log.Warn("Require SSO was not confirmed in time and is off again")
		}
		if err != nil && !failing && ctx.Err() == nil {
			s.log.Warn("it cannot be told whether Require SSO was confirmed; tried again", "err", err)
		}
		failing = err != nil
	}
}
