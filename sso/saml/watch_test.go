package saml

import (
	"testing"
	"time"
)

// Nodes do not ask together, an IdP that is down is not asked more and more often,
// and what it says of its own freshness is heeded within reason.
func TestWaitsBetweenRefreshes(t *testing.T) {
	now := time.Unix(1_000_000, 0)
	p := &Provider{now: func() time.Time { return now }}
	for _, c := range []struct {
		name     string
		interval time.Duration
		failures int
		idp      *idp
		want     time.Duration
	}{
		{"never read", time.Hour, 0, nil, time.Hour},
		{"nothing said", time.Hour, 0, &idp{}, time.Hour},
		{"cacheDuration", time.Hour, 0, &idp{cacheFor: 10 * time.Minute}, 10 * time.Minute},
		{"long cacheDuration", time.Hour, 0, &idp{cacheFor: 24 * time.Hour}, time.Hour},
		{"cacheDuration of a second", time.Hour, 0, &idp{cacheFor: time.Second}, time.Minute},
		{"validUntil", time.Hour, 0, &idp{validUntil: now.Add(time.Hour)}, 30 * time.Minute},
		{"validUntil past", time.Hour, 0, &idp{validUntil: now.Add(-time.Hour)}, time.Minute},
		{"one failure", time.Hour, 1, &idp{}, time.Minute},
		{"two failures", time.Hour, 2, &idp{cacheFor: time.Second}, 2 * time.Minute},
		{"five failures", time.Hour, 5, &idp{}, 16 * time.Minute},
		{"seven failures", time.Hour, 7, &idp{}, time.Hour},
		{"a thousand failures", time.Hour, 1000, &idp{}, time.Hour},
		{"a short interval", time.Millisecond, 3, &idp{}, time.Millisecond},
	} {
		p.idp.Store(c.idp)
		seen := map[time.Duration]bool{}
		for range 50 {
			got := p.wait(c.interval, c.failures)
			if got > c.want || got < c.want*3/4-1 {
				t.Fatalf("%s: %s, want %s or up to a quarter less", c.name, got, c.want)
			}
			seen[got] = true
		}
		if len(seen) < 10 {
			t.Errorf("%s: %d different waits of 50", c.name, len(seen))
		}
	}
}
