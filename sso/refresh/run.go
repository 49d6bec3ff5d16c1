package refresh

import (
	"context"
	"sync"
	"time"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/sso"
)

// Run looks for grants that are due and asks about them until ctx ends. A question
// that is under way then is finished first: its answer may carry a new token that
// must be stored.
func (k *Keeper) Run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for _, p := range k.Live.Load().Providers {
			if p.OIDC.Recheck > 0 && p.Active && k.enter(p.ID) {
				wg.Go(func() {
					defer k.leave(p.ID)
					k.drain(ctx, p.ID)
				})
			}
		}
	}
}

// enter takes the provider's lane, unless it is taken or the provider wants rest.
func (k *Keeper) enter(provider string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	l := k.lane(provider)
	if l.busy || k.Now().Before(l.rest) {
		return false
	}
	l.busy = true
	return true
}

func (k *Keeper) leave(provider string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.lane(provider).busy = false
}

// drain asks until nothing more of a provider is due.
func (k *Keeper) drain(ctx context.Context, provider string) {
	for ctx.Err() == nil && k.every(provider) > 0 && !k.resting(provider) {
		if k.round(ctx, provider) < slots {
			return
		}
	}
}

func (k *Keeper) resting(provider string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.Now().Before(k.lane(provider).rest)
}

// round claims as many grants as are asked about at once, so that none waits
// under a lease, and answers how many there were.
func (k *Keeper) round(ctx context.Context, provider string) int {
	now := k.Now()
	c := Claim{ID: secret.NewToken(), Provider: provider, Now: now, Until: now.Add(leaseFor), Limit: slots}
	grants, err := k.Store.Claim(ctx, c)
	k.storeState(ctx, provider, err)
	if err != nil {
		return 0
	}
	var wg sync.WaitGroup
	for _, g := range grants {
		wg.Go(func() { k.one(ctx, &held{Keeper: k, g: g, claim: c.ID, until: c.Until}) })
	}
	wg.Wait()
	return len(grants)
}

// state logs that questions about a provider's people are not answered, or are
// again: once, not for each of the thousands who signed in through it.
func (k *Keeper) state(ctx context.Context, provider string, e *sso.RefreshError) {
	k.mu.Lock()
	l := k.lane(provider)
	was := l.failing
	l.failing = e != nil
	k.mu.Unlock()
	switch {
	case e != nil && !was:
		k.Log.WarnContext(ctx, "it cannot be known whether people may still be signed in; their sessions go on until their end",
			"provider", provider, "reason", e.Outcome, "err", e.Err)
	case e == nil && was:
		k.Log.InfoContext(ctx, "it is known again who may be signed in", "provider", provider)
	}
}

// storeState logs that the store fails, or works again: once, not every second.
func (k *Keeper) storeState(ctx context.Context, provider string, err error) {
	if ctx.Err() != nil {
		return
	}
	k.mu.Lock()
	l := k.lane(provider)
	was := l.broken
	l.broken = err != nil
	k.mu.Unlock()
	switch {
	case err != nil:
		k.count(provider, "store")
		if !was {
			k.Log.WarnContext(ctx, "nobody can be asked about: the database does not answer; sessions go on until their end", "provider", provider, "err", err)
		}
	case was:
		k.Log.InfoContext(ctx, "the database answers again: people are asked about", "provider", provider)
	}
}
