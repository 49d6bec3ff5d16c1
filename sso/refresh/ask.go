package refresh

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"sync"
	"time"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/sso"
)

// held is one grant under one claim.
type held struct {
	*Keeper
	g     Grant
	claim string

	mu    sync.Mutex
	until time.Time // when the lease runs out
}

// one asks about one grant and acts on the answer.
func (k *Keeper) one(ctx context.Context, h *held) {
	lease, release := h.keep(ctx)
	defer release()
	p := h.g.Identity.Provider
	over, err := h.over(lease)
	switch {
	case err != nil:
		h.failed(ctx, &sso.RefreshError{Outcome: "store", Err: err})
		return
	case over:
		_ = h.Store.Delete(lease, h.g.Session, h.claim) // else the sweep does it
		return
	case ctx.Err() != nil:
		return // stopping: nothing was asked yet, and the lease runs out
	}
	err = h.ask(lease)
	if errors.Is(err, ErrLost) || lease.Err() != nil {
		// Another node asks by now, perhaps with a newer token. What this one was told,
		// a refusal above all, is not about that token.
		k.count(p, "lost")
		return
	}
	var e *sso.RefreshError
	switch {
	case err == nil:
		k.count(p, "ok")
		k.state(ctx, p, nil)
		h.settle(ctx, k.next(k.period(p)), 0)
	case errors.As(err, &e) && e.Refused:
		h.end(ctx, lease, e)
	case errors.As(err, &e):
		h.failed(ctx, e)
	default:
		h.failed(ctx, &sso.RefreshError{Outcome: "store", Err: err})
	}
}

// period is every, or a while when it was just switched off: what is settled
// then is not asked about anyway.
func (k *Keeper) period(provider string) time.Duration { return max(k.every(provider), time.Minute) }

// over reports whether something else has ended the session already: the same
// marks as an admission compares (C6). Nobody is asked about it then.
func (h *held) over(ctx context.Context) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	g := h.g
	s, err := h.Directory.Snapshot(ctx, g.Member, member.SessionRef{Hash: g.Session.String(), Provider: g.Identity.Provider})
	switch {
	case errors.Is(err, member.ErrNotFound):
		return true, nil
	case err != nil:
		return false, err
	}
	return s.SessionEnded || s.Member.Epoch != g.Epoch || g.Seq < s.EndedBefore, nil
}

// ask puts the question. Errors: *sso.RefreshError, [ErrLost], and the store's.
func (h *held) ask(ctx context.Context) (err error) {
	// A provider chooses what is parsed here, and no handler recovers (fault 25).
	defer func() {
		if v := recover(); v != nil {
			// Not the value: it is often the input that caused it (L01).
			h.Log.ErrorContext(ctx, "panic", "while", "asking about a session", "provider", h.g.Identity.Provider, "stack", string(debug.Stack()))
			err = &sso.RefreshError{Outcome: "panic"}
		}
	}()
	token, err := h.Sealer.Open(h.g.Token, SealContext(h.g.Session))
	if err != nil {
		// The operator can still bring the key back: nothing is destroyed.
		return &sso.RefreshError{Outcome: "sealed", Err: fmt.Errorf("sealed with another seal_key; set it as secrets.seal_key_previous: %w", err)}
	}
	p, ok := h.Providers(h.g.Identity.Provider).(sso.Refresher)
	if !ok {
		return &sso.RefreshError{Outcome: "disabled"} // switched off in this moment
	}
	if !h.Now().Before(h.runsOut()) {
		return ErrLost // this process was suspended: another may be asking
	}
	actx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	a, err := p.Refresh(actx, h.g.Identity, string(token))
	if err != nil {
		return err
	}
	if next := a.Token(); next != "" {
		if err := h.store(ctx, h.Sealer.Seal([]byte(next), SealContext(h.g.Session))); err != nil {
			return err
		}
	}
	vctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	return a.Verify(vctx)
}

// store writes the new token, for as long as the lease is held: without it the
// next question is refused, and the person signed out.
func (h *held) store(ctx context.Context, sealed []byte) error {
	for wait := 100 * time.Millisecond; ; wait = min(2*wait, 2*time.Second) {
		err := h.extend(ctx, sealed)
		if err == nil || errors.Is(err, ErrLost) {
			return err
		}
		select {
		case <-ctx.Done():
			h.Log.ErrorContext(ctx, "a new refresh token could not be stored: the provider will refuse the old one, and the session ends then",
				"provider", h.g.Identity.Provider, "session", h.g.Session.Short(), "err", err)
			return errors.Join(ErrLost, err)
		case <-time.After(wait):
		}
	}
}

// extend renews the lease, with a new token or nil.
func (h *held) extend(ctx context.Context, sealed []byte) error {
	until := h.Now().Add(leaseFor)
	ctx, cancel := context.WithTimeout(ctx, storeTime)
	defer cancel()
	if err := h.Store.Hold(ctx, h.g.Session, h.claim, until, sealed); err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.until = until
	return nil
}

func (h *held) runsOut() time.Time {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.until
}

// keep renews the lease until release is called. The context it answers ends when
// the lease is lost, and does not end with ctx: a question that was put is finished.
func (h *held) keep(ctx context.Context) (lease context.Context, release func()) {
	lease, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(renewEvery)
		defer tick.Stop()
		for {
			select {
			case <-lease.Done():
				return
			case <-tick.C:
			}
			err := h.extend(lease, nil)
			if errors.Is(err, ErrLost) || !h.Now().Before(h.runsOut()) {
				cancel(ErrLost)
				return
			}
		}
	})
	return lease, func() {
		cancel(nil)
		wg.Wait()
	}
}

// end ends the session, everywhere, before it is forgotten what there was to ask
// about. It stops with ctx: a refusal comes again when it is asked again.
func (h *held) end(ctx, lease context.Context, e *sso.RefreshError) {
	g, p := h.g, h.g.Identity.Provider
	h.count(p, e.Outcome)
	// The last look: from here on it is this node's word.
	if err := h.extend(lease, nil); err != nil {
		h.Log.WarnContext(ctx, "a refused session is not ended now: the claim on it was lost; it is asked about again", "provider", p, "session", g.Session.Short(), "err", err)
		return
	}
	reason := "refresh_refused"
	if e.Outcome != "refused" {
		reason = "refresh_" + e.Outcome
	}
	h.Log.WarnContext(ctx, "the identity provider no longer vouches for this session: it ends", "provider", p, "session", g.Session.Short(), "member", string(g.Member), "reason", reason, "err", e.Err)
	err := h.Directory.EndSession(ctx, member.Actor{Name: "refresh:" + p}, member.EndedSession{
		Hash: g.Session.String(), Member: g.Member, Until: g.Expires, Reason: reason,
	})
	if err != nil {
		h.Log.ErrorContext(ctx, "ending it is not confirmed; tried again", "provider", p, "session", g.Session.Short(), "err", err)
		h.settle(ctx, h.Now().Add(lookEvery), g.Failures+1)
		return
	}
	_ = h.Store.Delete(lease, g.Session, h.claim) // else the sweep does it
}

// failed leaves the session alone and asks again later.
func (h *held) failed(ctx context.Context, e *sso.RefreshError) {
	p := h.g.Identity.Provider
	h.count(p, e.Outcome)
	due := h.retry(h.period(p), h.g.Failures, e.RetryAfter)
	if e.Outcome == "rate_limited" {
		h.Keeper.mu.Lock()
		h.lane(p).rest = h.Now().Add(max(min(e.RetryAfter, maxRetryAfter), lookEvery)) // it limits the client, not one person
		h.Keeper.mu.Unlock()
	}
	h.Log.DebugContext(ctx, "not confirmed", "provider", p, "session", h.g.Session.Short(), "reason", e.Outcome, "failures", h.g.Failures+1, "err", e.Err)
	h.state(ctx, p, e)
	h.settle(ctx, due, h.g.Failures+1)
}

func (h *held) settle(ctx context.Context, due time.Time, failures int) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), storeTime)
	defer cancel()
	if err := h.Store.Settle(ctx, h.g.Session, h.claim, due, failures); err != nil && !errors.Is(err, ErrLost) {
		// It is asked about again when the lease runs out: too early does no harm.
		h.Log.WarnContext(ctx, "the answer about a session could not be noted", "provider", h.g.Identity.Provider, "session", h.g.Session.Short(), "err", err)
	}
}
