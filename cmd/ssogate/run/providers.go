package run

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso"
	"github.com/ssogate/ssogate/sso/oauth"
	"github.com/ssogate/ssogate/sso/saml"
)

// metadataEvery is how often SAML metadata is read again.
const metadataEvery = time.Hour

func (s *Server) makeProviders(ctx context.Context) error {
	if err := s.registry.Register(&samlMetrics{s}); err != nil {
		return err
	}
	for _, p := range s.settings.Load().Providers {
		r, err := s.makeProvider(ctx, p)
		switch {
		case err == nil:
			s.providers.put(r, func() bool { return true })
		case s.inFile(p.ID):
			return fmt.Errorf("provider %s: %w", p.ID, err)
		default:
			// It was published while ssogate ran, and a restart must not keep the rest down.
			s.log.Error("identity provider cannot be used; nobody can sign in through it", "provider", p.ID, "err", err)
		}
	}
	return nil
}

// inFile reports whether the config file declares a provider.
func (s *Server) inFile(id string) bool { return slices.Contains(fileProviders(s.cfg), id) }

func fileProviders(c *config.Config) (ids []string) {
	for _, p := range c.Providers {
		ids = append(ids, p.ID)
	}
	return ids
}

// makeProvider makes one of its settings.
func (s *Server) makeProvider(ctx context.Context, p settings.Provider) (*runningProvider, error) {
	r := &runningProvider{settings: p}
	var err error
	switch p.Protocol {
	case settings.SAML:
		err = s.makeSAML(ctx, r, s.db)
	case settings.OIDC:
		r.Provider, err = oauth.New(oauth.Options{Provider: p, URL: s.cfg.URL, HTTP: s.outbound, Now: s.now})
	case settings.GitHub:
		r.Provider, err = oauth.NewGitHub(oauth.Options{Provider: p, URL: s.cfg.URL, HTTP: s.outbound, Now: s.now})
	default:
		err = fmt.Errorf("unknown protocol %q", p.Protocol)
	}
	if err != nil {
		return nil, err
	}
	return r, nil
}

// makeSAML makes a SAML provider. store keeps its metadata over a restart; without one
// what it reads is known to this process alone.
func (s *Server) makeSAML(ctx context.Context, r *runningProvider, store saml.Store) error {
	p := r.settings
	keys, err := spKeyring{s.db, s.sealer}.keys(ctx, p.ID)
	if err != nil {
		return err
	}
	provider, err := saml.New(saml.Options{Provider: p, URL: s.cfg.URL, Keys: keys, HTTP: s.outbound, Store: store, Now: s.now})
	if err != nil {
		return err
	}
	if h := provider.Health(); h.Err != nil {
		s.log.Warn("identity provider metadata cannot be read yet; sign-in through it waits for it", "provider", p.ID, "err", h.Err)
	}
	r.Provider = provider
	r.watch = func(ctx context.Context) {
		provider.KeepFresh(ctx, metadataEvery, func(n saml.Notice) { s.notice(p.ID, n) })
	}
	return nil
}

// SAMLMetadata is our SP metadata for a provider: what its administrator is given.
func (s *Server) SAMLMetadata(id string) ([]byte, error) {
	p, ok := s.providers.get(id).(*saml.Provider)
	if !ok {
		return nil, fmt.Errorf("run: no SAML provider %q", id)
	}
	return p.Metadata()
}

// provider is an active provider by id, or nil.
func (s *Server) provider(id string) sso.Provider {
	if _, ok := s.settings.Load().Provider(id); !ok {
		return nil
	}
	return s.providers.get(id)
}
