package run

import (
	"context"
	"errors"
	"reflect"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/member"
)

// reloadMetrics says whether what runs is what stands in the file (fault 20).
type reloadMetrics struct{ ok prometheus.Gauge }

func newReloadMetrics(reg prometheus.Registerer) reloadMetrics {
	m := reloadMetrics{prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "config_reload_ok", Help: "1: the last reload of the config file was taken. 0: it was refused, and the one before is in force.",
	})}
	m.ok.Set(1)
	reg.MustRegister(m.ok)
	return m
}

// ErrReload means that a new config was not taken: what ran goes on as it was.
var ErrReload = errors.New("run: the new config was not taken, and the one before stays in force")

// ReloadRefused notes that a new config could not even be read, for health and metrics.
func (s *Server) ReloadRefused() {
	s.degraded.Store(true)
	s.reloads.ok.Set(0)
}

// Reload takes the routes, rules, machine issuers and certificates of a new config, all at once or
// none: everything is made before anything is replaced. Requests that run keep the
// route they have; streams whose route now refuses them are closed before it returns.
// What else has changed in the file waits for a restart, and is named in the log.
// Errors wrap [ErrReload]. Safe for concurrent use.
func (s *Server) Reload(ctx context.Context, c *config.Config) error {
	s.rerouting.Lock() // not the lock of settings: asking again about streams may need those
	defer s.rerouting.Unlock()
	routes, issuers, rerr := s.compile(c)
	certs, cerr := readCertificates(c)
	var terr error
	if (c.TLS.CertFile == "") != (s.cfg.TLS.CertFile == "") {
		terr = errors.New("run: tls was added or removed: that needs a restart")
	}
	if c.URL != s.cfg.URL {
		terr = errors.Join(terr, errors.New("run: url changed: that needs a restart"))
	}
	var aerr error
	if rerr == nil {
		aerr = s.signing.Ensure(ctx, routes.Algorithms()...)
	}
	if err := errors.Join(rerr, cerr, terr, aerr); err != nil {
		s.ReloadRefused()
		return errors.Join(ErrReload, err)
	}
	if len(certs) > 0 {
		s.certs.list.Store(&certs)
	}
	s.remember(c)
	s.issuers = issuers
	s.gate.SetRoutes(routes)
	// Whoever was let in by a rule that is gone must not stay on an open stream.
	s.live.Cut(ctx, member.Revocation{Kind: member.Recheck, Scope: member.ScopeAll})
	s.degraded.Store(false)
	s.reloads.ok.Set(1)
	s.warnUncovered(c)
	for _, key := range waiting(s.cfg, c) {
		s.log.Warn("changed in the config file, and waits for a restart", "key", key)
	}
	s.log.Info("config reloaded", "routes", len(c.Routes), "certificates", len(certs))
	return nil
}

func (s *Server) warnUncovered(c *config.Config) {
	certs := s.certs.list.Load()
	if certs == nil {
		return
	}
	for _, origin := range uncovered(c, *certs) {
		s.log.Warn("no certificate names this host: browsers will refuse it", "origin", origin)
	}
}

// waiting names the top-level keys, other than those a reload takes, in which two
// configs differ.
func waiting(old, now *config.Config) []string {
	var out []string
	a, b := reflect.ValueOf(*old), reflect.ValueOf(*now)
	for i := range a.NumField() {
		key := a.Type().Field(i).Tag.Get("key")
		if key == "" || key == "routes" || key == "machine_issuers" || key == "tls" {
			continue
		}
		if !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			out = append(out, key)
		}
	}
	return out
}
