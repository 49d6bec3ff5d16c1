package sql

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ssogate/ssogate/session"
)

// SessionMetrics are the metrics of [Sessions], under the names that the Redis
// store uses too: a process has one session store. A nil *SessionMetrics counts
// nothing.
type SessionMetrics struct {
	up         prometheus.Gauge
	mismatches prometheus.Counter
	seconds    *prometheus.HistogramVec
}

// NewSessionMetrics registers session_store_up, session_record_mismatch_total
// and session_store_seconds.
func NewSessionMetrics(r prometheus.Registerer) (*SessionMetrics, error) {
	m := &SessionMetrics{
		up: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "session_store_up", Help: "1 while the session store answers.",
		}),
		mismatches: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "session_record_mismatch_total",
			Help: "Answers of the session store that belonged to another record, were truncated or of a future version. Any is an alarm.",
		}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "session_store_seconds", Help: "Duration of session store calls by operation and outcome.",
			Buckets: []float64{.0002, .0005, .001, .002, .005, .01, .025, .05, .1, .25, .5, 1, 2.5},
		}, []string{"op", "outcome"}),
	}
	m.up.Set(1) // the database was opened, or there would be no store
	for _, c := range []prometheus.Collector{m.up, m.mismatches, m.seconds} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("sql: session metrics: %w", err)
		}
	}
	return m, nil
}

// observe records one call. Answers of the store (not found, exists already)
// are successes of the database; a caller who gave up tells nothing about it.
func (m *SessionMetrics) observe(ctx context.Context, op string, start time.Time, err error) {
	if m == nil {
		return
	}
	outcome := "ok"
	switch {
	case err == nil, errors.Is(err, session.ErrNotFound), errors.Is(err, session.ErrMismatch), taken(err):
		m.up.Set(1)
	case ctx.Err() != nil:
		outcome = "given_up"
	default:
		outcome = "error"
		m.up.Set(0)
	}
	m.seconds.WithLabelValues(op, outcome).Observe(time.Since(start).Seconds())
}

func (m *SessionMetrics) mismatch() {
	if m != nil {
		m.mismatches.Inc()
	}
}
