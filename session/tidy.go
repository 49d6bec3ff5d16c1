package session

import (
	"context"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
)

const (
	tidyBatch   = 256
	tidyFails   = 8               // rows of a batch that may fail before it is given up
	tidyTimeout = 2 * time.Second // of one row
	tidyRetry   = time.Second
	tidyMax     = 30 * time.Second
	// A node leaves the tidying of another node's row to it for so long, and a
	// little at random, so that not all of them take over at once (C2: within 1 s).
	tidyLeave = 500 * time.Millisecond
	tidySpare = 300 * time.Millisecond
)

// tidier deletes ended sessions from the session store. Nothing depends on it:
// epochs and tombstones refuse them already. What is still to do stands in SQL,
// so neither a crash nor a session store that is down for hours loses any.
type tidier struct {
	finisher Finisher
	store    Store
	logger   *slog.Logger
	late     prometheus.Counter
	soon     chan time.Duration // a look is wanted after this time
}

// hurry asks for a look now: this node published a row.
func (t *tidier) hurry() { t.ask(0) }

// notice asks for a look later: a row was applied, and its publisher tidies it
// unless it crashed.
func (t *tidier) notice() {
	t.ask(tidyLeave + rand.N(tidySpare)) //nolint:gosec // spreads nodes; nothing secret depends on it
}

func (t *tidier) ask(d time.Duration) {
	select {
	case t.soon <- d:
	default: // asked already; whoever hurries waits for the look that is due at most
	}
}

func (t *tidier) run(ctx context.Context) {
	timer := time.NewTimer(0) // what a crashed process left is looked for at once
	defer timer.Stop()
	due := time.Now()
	retry := tidyRetry
	failing := false
	for {
		select {
		case <-ctx.Done():
			return
		case d := <-t.soon:
			if at := time.Now().Add(d); at.Before(due) || due.IsZero() {
				due = at
				timer.Reset(d)
			}
			continue
		case <-timer.C:
		}
		due = time.Time{}
		more, err := t.tidy(ctx)
		switch {
		case ctx.Err() != nil:
			return
		case err != nil:
			if !failing {
				t.logger.Warn("ended sessions cannot be deleted yet; they are refused all the same", "err", err)
			}
			failing = true
			t.late.Inc()
			due = time.Now().Add(retry)
			timer.Reset(retry)
			retry = min(2*retry, tidyMax)
		default:
			failing, retry = false, tidyRetry
			if more {
				due = time.Now()
				timer.Reset(0)
			}
		}
	}
}

// tidy finishes one batch. A row that cannot be finished, on a dead shard or with a
// spoiled record, does not hold up the others; but a store that is down is not
// asked 256 times.
func (t *tidier) tidy(ctx context.Context) (more bool, err error) {
	lctx, cancel := context.WithTimeout(ctx, tidyTimeout)
	rows, err := t.finisher.Unfinished(lctx, tidyBatch)
	cancel()
	if err != nil {
		return false, err
	}
	var done []int64
	var failed error
	fails := 0
	for _, r := range rows {
		dctx, cancel := context.WithTimeout(ctx, tidyTimeout)
		derr := t.delete(dctx, r)
		cancel()
		if derr == nil {
			done = append(done, r.Seq)
			continue
		}
		if failed = derr; fails == tidyFails || ctx.Err() != nil {
			break
		}
		fails++
	}
	if len(done) > 0 {
		fctx, cancel := context.WithTimeout(ctx, tidyTimeout)
		defer cancel()
		if err := t.finisher.Finish(fctx, done...); err != nil {
			return false, err
		}
	}
	return failed == nil && len(rows) == tidyBatch, failed
}

// delete removes what one row ended. What ends everybody, or everybody of a
// provider, leaves its records to their own end: their number has no bound.
func (t *tidier) delete(ctx context.Context, r member.Revocation) error {
	switch r.Scope {
	case member.ScopeMember:
		_, err := t.store.DeleteMember(ctx, member.ID(r.Target), r.Epoch)
		return err
	case member.ScopeSession:
		if h, err := secret.ParseHash(r.Target); err == nil { // else it names no session we could delete
			return t.store.Delete(ctx, h)
		}
	case member.ScopeLogins:
		return t.deleteLogins(ctx, r)
	case member.ScopeMembers, member.ScopeProvider, member.ScopeAll:
	}
	return nil
}

// deleteLogins removes what a provider's logout named and is stamped lower (C7).
func (t *tidier) deleteLogins(ctx context.Context, r member.Revocation) error {
	l, ok := member.ParseLogins(r.Target)
	if !ok {
		return nil // names no session
	}
	list, err := t.store.List(ctx, l.Member)
	if err != nil {
		return err
	}
	for _, rec := range list {
		if l.Names(rec.Provider, rec.SessionIndex) && rec.Seq < r.Seq {
			if err := t.store.Delete(ctx, rec.Hash); err != nil {
				return err
			}
		}
	}
	return nil
}
