package scim

import (
	"context"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/ssogate/ssogate/audit"
)

// limiters hold one rate limit per connection, so that a runaway import of one
// IdP leaves the others (and the gate) their share. Connections come from the
// settings, never from the request, so their number is bounded.
type limiters struct {
	mu sync.Mutex
	of map[string]*rate.Limiter
}

func newLimiters() *limiters { return &limiters{of: map[string]*rate.Limiter{}} }

func (l *limiters) allow(connection string, now time.Time) bool {
	l.mu.Lock()
	lim := l.of[connection]
	if lim == nil {
		lim = rate.NewLimiter(ratePerSecond, rateBurst)
		l.of[connection] = lim
	}
	l.mu.Unlock()
	return lim.AllowN(now, 1)
}

// denials keep a flood of bad tokens from becoming a flood of audit rows: past
// the budget they are counted, and the next event says how many were left out.
type denials struct {
	audit   audit.Recorder
	mu      sync.Mutex
	budget  *rate.Limiter
	skipped int
}

func newDenials(r audit.Recorder) *denials {
	return &denials{audit: r, budget: rate.NewLimiter(1, 20)}
}

func (d *denials) record(ctx context.Context, now time.Time, e audit.Event) error {
	d.mu.Lock()
	if !d.budget.AllowN(now, 1) {
		d.skipped++
		d.mu.Unlock()
		return nil
	}
	if d.skipped > 0 {
		e.Detail = map[string]string{"not_listed": strconv.Itoa(d.skipped)}
		d.skipped = 0
	}
	d.mu.Unlock()
	return d.audit.Record(ctx, e)
}
