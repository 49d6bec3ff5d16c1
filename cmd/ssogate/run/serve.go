package run

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/ssogate/ssogate/proxy/wire"
)

// Times of a shutdown. The whole takes less than the 30 s that service managers
// and orchestrators usually allow.
const (
	drainTime     = 20 * time.Second // requests that still run then are cut
	spreadStreams = 5 * time.Second  // WebSockets get 1001 over this time, not all at once
	leaveTime     = 2 * time.Second
	sweepEvery    = 5 * time.Minute
)

// Serve answers on the listeners until ctx ends, then stops in order: not ready,
// streams told to go away, requests finished, background work ended, stores
// closed. It returns nil after a clean stop and may be called once.
func (s *Server) Serve(ctx context.Context) error {
	bg, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	var work sync.WaitGroup
	work.Go(func() { _ = s.cutoff.Run(bg) })
	work.Go(func() { s.manager.RunTouches(bg, s.log) })
	work.Go(func() { s.sweep(bg) })
	work.Go(func() { s.providers.run(bg) })
	work.Go(func() { s.revertUnconfirmed(bg) })
	work.Go(func() { s.mend(bg) })
	work.Go(func() { s.gate.Run(bg) })
	for _, f := range s.background {
		work.Go(func() { f(bg) })
	}

	failed := make(chan error, len(s.listeners)+1)
	serve := func(srv *http.Server, l net.Listener) {
		if err := srv.Serve(l); !errors.Is(err, http.ErrServerClosed) {
			failed <- fmt.Errorf("run: serve %s: %w", l.Addr(), err)
		}
	}
	var serving sync.WaitGroup
	for _, l := range s.listeners {
		serving.Go(func() { serve(s.public, s.strict(l)) })
	}
	serving.Go(func() { serve(s.admin, s.privateListener) })

	var err error
	select {
	case <-ctx.Done():
		s.log.Info("stopping: no new connections")
	case err = <-failed:
		s.log.Error("a listener failed", "err", err)
	}
	s.shutdown(context.WithoutCancel(ctx))
	serving.Wait()
	// The lease loop has read and acknowledged until here: a cut-off during the
	// drain was true for the last request and stream too (C8).
	stop()
	work.Wait()
	if lerr := s.leave(); lerr != nil {
		// It stays registered until the others expel it: cut-offs take a second longer for a while.
		s.log.Warn("this node could not deregister", "err", lerr)
	}
	return errors.Join(err, s.close())
}

// strict is a public listener that holds requests to one reading before net/http has
// its own (rows T01 to T03), and that serves TLS by certificates which a reload changes.
func (s *Server) strict(l net.Listener) net.Listener {
	o := wire.Options{HeaderBytes: s.cfg.Limits.HeaderBytes, ErrorLog: s.public.ErrorLog}
	if s.cfg.TLS.CertFile != "" {
		o.TLS = s.certs.config()
	}
	return wire.Listen(l, o)
}

func (s *Server) leave() error {
	ctx, cancel := context.WithTimeout(context.Background(), leaveTime)
	defer cancel()
	return s.cutoff.Leave(ctx)
}

func (s *Server) shutdown(ctx context.Context) {
	s.draining.Store(true)
	if d := s.cfg.Node.DrainDelay; d > 0 {
		// A load balancer must see that this node is not ready before a connection is
		// refused (fault 19). Everything goes on as before until then.
		s.log.Info("stopping: not ready, waiting for the load balancer", "for", d)
		time.Sleep(d)
	}
	ctx, cancel := context.WithTimeout(ctx, drainTime)
	defer cancel()
	// http.Server.Shutdown leaves hijacked connections open and waits for streams
	// for ever: they are told to go away beside it.
	var wg sync.WaitGroup
	wg.Go(func() {
		s.log.Info("stopping: closing streams, waiting for requests")
		s.live.Shutdown(ctx, spreadStreams)
	})
	wg.Go(func() {
		if err := s.public.Shutdown(ctx); err != nil {
			s.log.Warn("requests were cut off", "after", drainTime, "err", err)
			_ = s.public.Close()
		}
	})
	wg.Wait()
	// Health and metrics stay readable until everything else has ended.
	if err := s.admin.Shutdown(ctx); err != nil {
		_ = s.admin.Close()
	}
}

// sweep removes what has expired, so that the tables stay as large as what is live.
func (s *Server) sweep(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for { // at once too: it may have been off for long
		for _, f := range s.sweepers {
			if err := f(ctx); err != nil && ctx.Err() == nil {
				s.log.Warn("expired records could not be removed; tried again later", "err", err)
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
