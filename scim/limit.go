package scim

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/ssogate/ssogate/audit"
)

// limiters hold one rate limit per connection, so that a runaway import of one
// IdP leaves the others (and the gate) their share. Each node counts for itself.
// Connections come from the settings, never from the request, so their number is
// bounded.
type limiters struct {
	rate  rate.Limit
	burst int
	mu    sync.Mutex
	of    map[string]*rate.Limiter
}

func newLimiters(perSecond, burst int) *limiters {
	return &limiters{rate: rate.Limit(perSecond), burst: burst, of: map[string]*rate.Limiter{}}
}

func (l *limiters) get(connection string) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	lim := l.of[connection]
	if lim == nil {
		lim = rate.NewLimiter(l.rate, l.burst)
		l.of[connection] = lim
	}
	return lim
}

// limit takes what a request costs, or refuses it. Retry-After is in whole
// seconds, the only form that Okta reads.
func (h *Handler) limit(c *call) error {
	now := h.o.Now()
	r := h.limiters.get(c.conn.ID).ReserveN(now, 1)
	wait := r.DelayFrom(now)
	if wait == 0 {
		return nil
	}
	r.CancelAt(now)
	return &fault{
		Status: http.StatusTooManyRequests, Detail: "more than " + itoa(h.o.Rate) + " requests a second",
		RetryAfter: int((wait + time.Second - 1) / time.Second),
	}
}

// charge takes what the further operations of a bulk request cost. The request
// itself was admitted; those that come after it wait for the debt to be worked off.
func (h *Handler) charge(c *call, n int) {
	for lim := h.limiters.get(c.conn.ID); n > 0; n -= h.o.Burst {
		lim.ReserveN(h.o.Now(), min(n, h.o.Burst))
	}
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
