package run

import (
	"context"

	"github.com/ssogate/ssogate/sso/refresh"
)

// makeRefresh asks OpenID providers again whether people may still be signed in,
// where the operator wants it. Every node does; the database says which asks about
// whom.
func (s *Server) makeRefresh(context.Context) error {
	grants := s.db.Grants()
	// Also where nobody is asked any more: what was kept before must still go.
	s.sweepers = append(s.sweepers, func(ctx context.Context) error { return grants.Sweep(ctx, s.now()) })
	// Always: a provider that wants it may be published at any time.
	k, err := refresh.New(refresh.Options{
		Store: grants, Sealer: s.sealer, Live: s.settings, Providers: s.provider, Directory: s.directory,
		Log: s.log, Now: s.now, Registry: s.registry,
	})
	if err != nil {
		return err
	}
	s.grants = k
	s.background = append(s.background, k.Run)
	return nil
}
