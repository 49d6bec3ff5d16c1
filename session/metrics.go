package session

import (
	"fmt"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
)

// Registerer is where metrics are registered; nil counts nowhere.
type Registerer = prometheus.Registerer

// barrierBuckets are fine where a healthy installation is, at a second (a silent
// node), and up to where a barrier gives up.
var barrierBuckets = []float64{.001, .002, .004, .006, .008, .01, .0125, .015, .02, .025, .03, .04, .05, .075, .1, .25, .5, .9, 1.1, 2, 5, 10}

type cutoffMetrics struct {
	leaseUp prometheus.Gauge
	barrier prometheus.Histogram
	late    prometheus.Counter
	last    *atomic.Int64 // the newest row known
}

func newCutoffMetrics(r Registerer, c *Cutoff) (cutoffMetrics, error) {
	m := cutoffMetrics{
		leaseUp: prometheus.NewGauge(prometheus.GaugeOpts{Name: "lease_up", Help: "1 while this node may use its principal cache."}),
		barrier: prometheus.NewHistogram(prometheus.HistogramOpts{
			Name: "cutoff_barrier_seconds", Help: "From commit until the cut-off was true on every node.", Buckets: barrierBuckets,
		}),
		late: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "session_cleanup_retries_total", Help: "Times that ended sessions could not be deleted yet; they are refused all the same.",
		}),
		last: &atomic.Int64{},
	}
	if r == nil {
		return m, nil
	}
	for _, x := range []prometheus.Collector{
		m.leaseUp, m.barrier, m.late,
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "revocation_applied", Help: "Number of the last revocation that is true on this node."},
			func() float64 { return float64(c.Applied()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "revocation_lag", Help: "Revocations that this node knows of and has not applied yet."},
			func() float64 { return float64(max(0, m.last.Load()-c.Applied())) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: "principal_cache_entries", Help: "Principals in this node's cache."},
			func() float64 { return float64(c.cache.len()) }),
	} {
		if err := r.Register(x); err != nil {
			return m, fmt.Errorf("session: metrics: %w", err)
		}
	}
	return m, nil
}
