package run

import "github.com/ssogate/ssogate/scim"

// provisioning is the SCIM service provider.
func (s *Server) provisioning() (*scim.Handler, error) {
	return scim.New(scim.Options{
		BaseURL: s.cfg.URL, Org: s.cfg.Organization.Slug, Members: s.directory, Teams: s.directory, Searcher: s.db, Access: s.db,
		Live: s.settings, Audit: s.db, Sealer: s.sealer, Now: s.now, Log: s.log, Metrics: s.registry,
		Rate: s.cfg.SCIM.Rate, Burst: s.cfg.SCIM.Burst, TokenLife: s.cfg.SCIM.TokenLifetime,
	})
}
