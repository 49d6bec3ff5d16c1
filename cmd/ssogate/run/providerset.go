package run

import (
	"context"
	"errors"
	"maps"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso"
)

// buildWait is how long a reload waits for providers that it has to make: an IdP that
// answers slowly must not keep this node from acknowledging what was published.
const buildWait = 400 * time.Millisecond

// runningProvider is one provider with the settings it was made of.
type runningProvider struct {
	sso.Provider
	settings settings.Provider
	watch    func(context.Context) // keeps its metadata fresh; nil: nothing to keep
	stop     context.CancelFunc    // of watch
}

// providerSet are the providers of this process, swapped whole. Safe for concurrent use.
type providerSet struct {
	now atomic.Pointer[map[string]*runningProvider]

	mu   sync.Mutex // one change at a time
	ctx  context.Context
	work sync.WaitGroup
}

func newProviderSet() *providerSet {
	p := &providerSet{}
	p.now.Store(&map[string]*runningProvider{})
	return p
}

// get is a provider by id, or nil.
func (p *providerSet) get(id string) sso.Provider {
	if r := (*p.now.Load())[id]; r != nil {
		return r.Provider
	}
	return nil
}

func (p *providerSet) all() map[string]*runningProvider { return *p.now.Load() }

// put adds or replaces one, if it is still wanted by the time that nothing else
// changes: what took long to make must not take the place of what was published
// meanwhile. Whoever is replaced is stopped.
func (p *providerSet) put(r *runningProvider, wanted func() bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !wanted() {
		return
	}
	next := maps.Clone(*p.now.Load())
	old := next[r.settings.ID]
	next[r.settings.ID] = r
	p.now.Store(&next)
	if old != nil && old.stop != nil {
		old.stop()
	}
	p.start(r)
}

// keep drops all but these, before anything new is decided with newer settings, which
// then come into use by calling then.
func (p *providerSet) keep(ids map[string]bool, then func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := map[string]*runningProvider{}
	for id, r := range *p.now.Load() {
		if ids[id] {
			next[id] = r
		} else if r.stop != nil {
			r.stop()
		}
	}
	p.now.Store(&next)
	then()
}

// start needs mu. Before [providerSet.run] it does nothing.
func (p *providerSet) start(r *runningProvider) {
	if p.ctx == nil || r.watch == nil || r.stop != nil {
		return
	}
	ctx, stop := context.WithCancel(p.ctx)
	r.stop = stop
	p.work.Go(func() { r.watch(ctx) })
}

// run starts what watches the providers, until ctx ends, and waits for its end.
func (p *providerSet) run(ctx context.Context) {
	p.mu.Lock()
	p.ctx = ctx
	for _, r := range *p.now.Load() {
		p.start(r)
	}
	p.mu.Unlock()
	<-ctx.Done()
	p.work.Wait()
}

// apply makes next the live settings. A provider that has changed is gone at once and
// comes back when it has been made anew: nobody is verified by what was replaced.
func (s *Server) apply(ctx context.Context, next *settings.Settings) {
	keep := map[string]bool{}
	var build []settings.Provider
	running := s.providers.all()
	for _, p := range next.Providers {
		if r := running[p.ID]; r != nil && reflect.DeepEqual(r.settings, p) {
			keep[p.ID] = true
		} else {
			build = append(build, p)
		}
	}
	s.providers.keep(keep, func() { s.settings.Store(next) })
	done := make(chan struct{})
	go func() {
		defer close(done)
		// The reload may be given up; what it began is still wanted.
		s.build(context.WithoutCancel(ctx), build)
	}()
	timer := time.NewTimer(buildWait)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}

// mendEvery is how often a provider that could not be made is tried again.
const mendEvery = 30 * time.Second

// mend makes what could not be made: a database that did not answer for a moment must
// not keep a provider from this node until somebody publishes again.
func (s *Server) mend(ctx context.Context) {
	tick := time.NewTicker(mendEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			s.build(ctx, s.missing())
		}
	}
}

// missing are the active providers that nobody can sign in through on this node.
func (s *Server) missing() (out []settings.Provider) {
	running := s.providers.all()
	for _, p := range s.settings.Load().Providers {
		if p.Active && running[p.ID] == nil {
			out = append(out, p)
		}
	}
	return out
}

// build makes providers and puts those in that are still wanted as they are.
func (s *Server) build(ctx context.Context, list []settings.Provider) {
	defer s.catchUp(ctx, list)
	for _, p := range list {
		r, err := s.makeProvider(ctx, p)
		if err != nil {
			// Not fatal: the other providers, and everybody's sessions, go on.
			s.log.Error("identity provider cannot be used; nobody can sign in through it", "provider", p.ID, "err", err)
			continue
		}
		s.providers.put(r, func() bool {
			now, ok := s.settings.Load().Provider(p.ID)
			return ok && reflect.DeepEqual(now, p) // else it was switched off or changed meanwhile
		})
	}
}

// catchUp reads again what a provider is made of beside its settings: its keys and its
// metadata may have been replaced while it was being made and nobody could tell it.
func (s *Server) catchUp(ctx context.Context, made []settings.Provider) {
	if !slices.ContainsFunc(made, func(p settings.Provider) bool { return p.Protocol == settings.SAML }) {
		return
	}
	if err := errors.Join(s.reloadSPKeys(ctx), s.reloadMetadata(ctx)); err != nil {
		s.log.Error("keys and metadata of identity providers cannot be read again; those from before are used", "err", err)
	}
}
