package web

import (
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the counters of [Handler]. A nil *Metrics counts nothing.
type Metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	inFlight prometheus.Gauge
	panics   prometheus.Counter
}

// NewMetrics registers http_requests_total{code,kind},
// http_request_duration_seconds{kind}, http_requests_in_flight and
// panics_total. Codes are classes ("2xx") and kinds come from Options.Kind, so
// no client can make a new series.
func NewMetrics(reg prometheus.Registerer) (*Metrics, error) {
	m := &Metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "http_requests_total", Help: "Requests ended, by status class and what served them.",
		}, []string{"code", "kind"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "http_request_duration_seconds", Help: "Time from the request's headers to its end, without upgraded connections.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 60},
		}, []string{"kind"}),
		inFlight: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "http_requests_in_flight", Help: "Requests and streams running now.",
		}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "panics_total", Help: "Panics recovered in handlers. Any value above 0 is a bug worth reporting.",
		}),
	}
	for _, c := range []prometheus.Collector{m.requests, m.duration, m.inFlight, m.panics} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("web: metrics: %w", err)
		}
	}
	return m, nil
}

func (m *Metrics) begin() (done func()) {
	if m == nil {
		return func() {}
	}
	m.inFlight.Inc()
	return m.inFlight.Dec
}

func (m *Metrics) panicked() {
	if m != nil {
		m.panics.Inc()
	}
}

func (m *Metrics) observe(rec record) {
	if m == nil {
		return
	}
	m.requests.WithLabelValues(codeClass(rec.status), rec.kind).Inc()
	// A WebSocket that lives for hours says nothing about how fast answers are.
	if !rec.hijacked {
		m.duration.WithLabelValues(rec.kind).Observe(float64(rec.took) / float64(time.Second))
	}
}

func codeClass(status int) string {
	switch status / 100 {
	case 1:
		return "1xx"
	case 2:
		return "2xx"
	case 3:
		return "3xx"
	case 4:
		return "4xx"
	case 5:
		return "5xx"
	default:
		return "none" // torn down before a status was sent
	}
}
