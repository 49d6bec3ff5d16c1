package run

import (
	"context"
	"time"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/scim"
)

// maxLogged is how many requests the flight recorder keeps, whatever their age:
// a connection at its rate limit would fill a disk in scim.log_days.
const maxLogged = 1_000_000

// provisioning is the SCIM service provider with its flight recorder.
func (s *Server) provisioning() (*scim.Handler, error) {
	recorder, err := scim.NewRecorder(s.db, s.now, s.log, s.registry)
	if err != nil {
		return nil, err
	}
	s.background = append(s.background, recorder.Run)
	s.sweepers = append(s.sweepers, func(ctx context.Context) error {
		_, err := s.db.SweepLog(ctx, s.now().Add(-time.Duration(s.cfg.SCIM.LogDays)*24*time.Hour), maxLogged)
		return err
	})
	return scim.New(scim.Options{
		BaseURL: s.cfg.URL, Org: s.cfg.Organization.Slug, Members: s.directory, Teams: s.directory, Searcher: s.db, Access: s.db,
		Live: s.settings, Audit: s.db, Sealer: s.sealer, Now: s.now, Log: s.log, Metrics: s.registry,
		Rate: s.cfg.SCIM.Rate, Burst: s.cfg.SCIM.Burst, TokenLife: s.cfg.SCIM.TokenLifetime, Recorder: recorder,
		Sessions: func(ctx context.Context, id member.ID) (int, error) {
			list, err := s.manager.Sessions(ctx, id)
			return len(list), err
		},
	})
}
