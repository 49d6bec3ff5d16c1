package run

import (
	"context"
	"errors"

	"github.com/ssogate/ssogate/config"
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
	wakes    session.Wakes // nil without Redis: nodes then find rows at their next poll
	shares   sso.Shares    // nil without Redis: each node then counts for itself
	ping     func(context.Context) error
	remember func(bool) // nil where sessions that ran out are known anyway
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
	o := redisOptions(s.cfg)
	o.Now, o.Budget, o.Metrics, o.Log = s.now, s.cfg.Limits.PendingSignIns, metrics, s.log
	if s.redisPrefix != "" {
		o.Prefix = s.redisPrefix
	}
	r, warnings, err := redis.Open(ctx, o)
	if err != nil {
		return err
	}
	s.closers = append(s.closers, r.Close)
	for _, w := range warnings {
		s.log.Warn("redis: " + string(w))
	}
	if err := s.claim(ctx, r); err != nil {
		return err
	}
	s.sessions = sessionStores{sessions: r.Sessions(), pending: r.Pending(), wakes: r.Wakes(), shares: r.Limits(), ping: r.Ping, remember: r.Remember}
	s.remember(s.cfg)
	return nil
}

// redisOptions is how every process of an installation reaches its Redis.
func redisOptions(c *config.Config) redis.Options {
	return redis.Options{
		URL: c.Redis.URL, Prefix: c.Redis.Prefix, CAFile: c.Redis.CAFile,
		SentinelUser: c.Redis.SentinelUser, SentinelPassword: c.Redis.SentinelPassword,
	}
}

// claim refuses a Redis that keeps the sessions of another database. One that
// does not answer is no reason not to start (G5): readiness goes on asking.
func (s *Server) claim(ctx context.Context, r *redis.DB) error {
	id, err := s.db.DirectoryID(ctx)
	if err != nil {
		return err
	}
	if err := r.Claim(ctx, id); errors.Is(err, redis.ErrDirectory) {
		return err
	} else if err != nil {
		s.log.Warn("redis: whether it is this database's could not be told yet", "err", err)
	}
	return nil
}

func (s *Server) makeLive(context.Context) (err error) {
	s.live, err = proxy.NewLive(proxy.LiveOptions{
		PerSession: s.cfg.Streams.PerSession, Total: s.cfg.Streams.Total, Now: s.now, Metrics: s.registry,
	})
	return err
}
