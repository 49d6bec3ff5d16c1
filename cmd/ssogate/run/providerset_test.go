package run

import (
	"context"
	"testing"

	"github.com/ssogate/ssogate/settings"
)

func made(name string) *runningProvider {
	return &runningProvider{settings: settings.Provider{ID: "hub", Name: name, Active: true}}
}

func yes() bool { return true }

// Fault 20: a provider that took long to make must not take the place of what was
// published meanwhile: its certificates, or who may sign in, may have been the reason.
func TestWhatTookLongToMakeIsNotUsedOverWhatIsNewer(t *testing.T) {
	p := newProviderSet()
	var live settings.Live
	publish := func(name string) func() {
		return func() {
			live.Store(&settings.Settings{Providers: []settings.Provider{{ID: "hub", Name: name, Active: true}}})
		}
	}
	wanted := func(r *runningProvider) func() bool {
		return func() bool {
			if p.mu.TryLock() {
				p.mu.Unlock()
				t.Error("something may be published between the question and the answer")
			}
			now, ok := live.Load().Provider("hub")
			return ok && now.Name == r.settings.Name
		}
	}
	p.keep(nil, publish("old"))
	slow := made("old")
	p.keep(nil, func() {
		if p.mu.TryLock() {
			p.mu.Unlock()
			t.Error("a slow one may come in between what is dropped and what is decided by")
		}
		publish("new")()
	})
	quick := made("new")
	p.put(quick, wanted(quick))
	p.put(slow, wanted(slow))
	if got := p.all()["hub"]; got != quick {
		t.Errorf("running: %+v", got)
	}
	p.keep(nil, publish("off"))
	if p.put(quick, wanted(quick)); p.get("hub") != nil || len(p.all()) != 0 {
		t.Error("what was dropped came back")
	}
}

// Each generation of a provider is watched while it is used, and no longer.
func TestAReplacedProviderIsNotWatchedAnyMore(t *testing.T) {
	p := newProviderSet()
	watched := func(name string) (r *runningProvider, begun, ended chan struct{}) {
		begun, ended = make(chan struct{}), make(chan struct{})
		r = made(name)
		r.watch = func(ctx context.Context) {
			close(begun)
			<-ctx.Done()
			close(ended)
		}
		return r, begun, ended
	}
	first, begun, ended := watched("first")
	p.put(first, yes) // before anything runs
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		p.run(ctx)
		close(done)
	}()
	<-begun
	second, begun2, ended2 := watched("second")
	p.put(second, yes)
	<-ended
	<-begun2
	p.keep(map[string]bool{"hub": true}, func() {})
	select {
	case <-ended2:
		t.Error("one that is kept is not watched any more")
	default:
	}
	p.keep(nil, func() {})
	<-ended2
	third, begun3, ended3 := watched("third")
	p.put(third, yes)
	<-begun3
	stop()
	<-ended3
	<-done
}

// A database that did not answer for a moment must not keep a provider away until
// somebody publishes again.
func TestAProviderThatCouldNotBeMadeIsMissed(t *testing.T) {
	s := &Server{settings: &settings.Live{}, providers: newProviderSet()}
	s.settings.Store(&settings.Settings{Providers: []settings.Provider{
		{ID: "hub", Active: true}, {ID: "okta", Active: true}, {ID: "off"},
	}})
	s.providers.put(made("hub"), yes)
	if got := s.missing(); len(got) != 1 || got[0].ID != "okta" {
		t.Errorf("missing: %+v", got)
	}
}
