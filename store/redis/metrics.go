package redis

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics of one [DB]. A nil *Metrics counts nothing.
type Metrics struct {
	up         prometheus.Gauge
	mismatches prometheus.Counter
	failovers  prometheus.Counter
	wakes      *prometheus.CounterVec
	seconds    *prometheus.HistogramVec
}

// NewMetrics registers session_store_up, session_record_mismatch_total,
// redis_failover_total, redis_wake_failures_total and redis_command_seconds.
func NewMetrics(r prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		up: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "session_store_up", Help: "1 while the session store answers; of a cluster every master.",
		}),
		mismatches: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "session_record_mismatch_total",
			Help: "Answers of the session store that belonged to another record, were truncated or of a future version. Any is an alarm.",
		}),
		failovers: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "redis_failover_total", Help: "Calls refused by a server that is not the master, or not yet, and repeated.",
		}),
		wakes: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "redis_wake_failures_total", Help: "Wake-ups that could not be sent, and subscriptions that broke. Each costs at most a poll interval.",
		}, []string{"side"}),
		seconds: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "redis_command_seconds", Help: "Duration of calls to Redis by operation and outcome.",
			Buckets: []float64{.0002, .0005, .001, .002, .005, .01, .025, .05, .1, .25, .5},
		}, []string{"op", "outcome"}),
	}
	for _, c := range []prometheus.Collector{m.up, m.mismatches, m.failovers, m.wakes, m.seconds} {
		if err := r.Register(c); err != nil {
			return nil, fmt.Errorf("redis: metrics: %w", err)
		}
	}
	for _, side := range []string{"send", "listen"} {
		m.wakes.WithLabelValues(side) // shown as 0, so that a rise is one
	}
	return m, nil
}

func (m *Metrics) setUp(up bool) {
	if m == nil {
		return
	}
	v := 0.0
	if up {
		v = 1
	}
	m.up.Set(v)
}

func (m *Metrics) mismatch() {
	if m != nil {
		m.mismatches.Inc()
	}
}

func (m *Metrics) failover() {
	if m != nil {
		m.failovers.Inc()
	}
}

// wakeFailed counts a failure to "send" or to "listen".
func (m *Metrics) wakeFailed(side string) {
	if m != nil {
		m.wakes.WithLabelValues(side).Inc()
	}
}

func (m *Metrics) observe(op, outcome string, d time.Duration) {
	if m != nil {
		m.seconds.WithLabelValues(op, outcome).Observe(d.Seconds())
	}
}
