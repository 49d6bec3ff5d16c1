package run

import (
	"context"
	"io"
	"net/http"
	"net/http/pprof"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// private is the handler of the private listener: health and metrics, nothing
// that a member or an app could need.
//
//	/healthz  the process is up (restart it when this fails)
//	/readyz   it can serve sign-ins now (take it out of rotation when this fails)
//	/metrics  Prometheus
//	/debug/pprof/  Go profiles, where the config says so
func (s *Server) private() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		if s.degraded.Load() {
			// Alive, and not to be restarted for it: it would not come up (fault 20).
			_, _ = io.WriteString(w, "degraded: the config file was changed and refused; see the log\n")
			return
		}
		_, _ = io.WriteString(w, "ok\n")
	})
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), 2*time.Second)
		defer cancel()
		w.Header().Set("Cache-Control", "no-store")
		code, lines := s.ready(ctx)
		w.WriteHeader(code)
		for _, l := range lines {
			_, _ = io.WriteString(w, l+"\n")
		}
	})
	if s.cfg.Profiling {
		// Named one by one: the package also registers all of them with net/http's own mux.
		mux.HandleFunc("GET /debug/pprof/", pprof.Index)
		mux.HandleFunc("GET /debug/pprof/cmdline", pprof.Cmdline)
		mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
		mux.HandleFunc("GET /debug/pprof/symbol", pprof.Symbol)
		mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	}
	mux.Handle("GET /metrics", promhttp.HandlerFor(s.registry, promhttp.HandlerOpts{}))
	return mux
}

// ready names each part that is not ready. Errors stay in the log: this
// listener may be read by more people than the log.
func (s *Server) ready(ctx context.Context) (int, []string) {
	code, lines := http.StatusOK, []string(nil)
	check := func(what string, err error) {
		if err == nil {
			lines = append(lines, what+": ok")
			return
		}
		code = http.StatusServiceUnavailable
		lines = append(lines, what+": down")
		s.log.DebugContext(ctx, "not ready", "part", what, "err", err)
	}
	if s.draining.Load() {
		return http.StatusServiceUnavailable, []string{"draining"}
	}
	check("database", s.db.Ping(ctx))
	check("session store", s.sessions.ping(ctx))
	return code, lines
}
