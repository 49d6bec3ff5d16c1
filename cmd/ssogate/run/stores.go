package run

import (
	"context"

	"github.com/ssogate/ssogate/proxy"
	"github.com/ssogate/ssogate/session"
	"github.com/ssogate/ssogate/sso"
	"github.com/ssogate/ssogate/store/redis"
	"github.com/ssogate/ssogate/store/sql"
)

// sessionStores are where sessions and pending sign-ins live: Redis when the
// config names one, else the database.
type sessionStores struct {
	sessions session.Store
	pending  sso.Pending
	ping     func(context.Context) error
}

func (s *Server) openSessions(ctx context.Context) error {
	if s.cfg.Redis.URL == "" {
		metrics, err := sql.NewSessionMetrics(s.registry)
		if err != nil {
			return err
		}
		st, pd := s.db.Sessions(s.now, metrics), s.db.Pending(s.now, s.cfg.Limits.PendingSignIns)
		s.sessions = sessionStores{sessions: st, pending: pd, ping: s.db.Ping}
		s.sweepers = append(s.sweepers, st.Sweep, pd.Sweep)
		return nil
	}
	metrics, err := redis.NewMetrics(s.registry)
	if err != nil {
		return err
	}
	r, warnings, err := redis.Open(ctx, redis.Options{
		URL: s.cfg.Redis.URL, Prefix: s.redisPrefix, Now: s.now, Budget: s.cfg.Limits.PendingSignIns, Metrics: metrics, Log: s.log,
	})
	if err != nil {
		return err
	}
	for _, w := range warnings {
		s.log.Warn("redis: " + string(w))
	}
	s.closers = append(s.closers, r.Close)
	s.sessions = sessionStores{sessions: r.Sessions(), pending: r.Pending(), ping: r.Ping}
	return nil
}

func (s *Server) makeLive(context.Context) (err error) {
	s.live, err = proxy.NewLive(proxy.LiveOptions{
		PerSession: s.cfg.Streams.PerSession, Total: s.cfg.Streams.Total, Now: s.now, Metrics: s.registry,
	})
	return err
}
