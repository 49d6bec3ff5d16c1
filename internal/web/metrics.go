package web

import (
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Metrics are the counters of [Handler]. A nil *Metrics counts nothing.
type Metrics struct {
	requests *prometheus.CounterVec
	duration *prometheus.HistogramVec
	inFlight prometheus.Gauge
	panics   prometheus.Counter
	kinds    sync.Map // kind -> *kindMetrics: looked up once, not per request
}

// kindMetrics are the series of one kind.
type kindMetrics struct {
	codes    [len(codeClasses)]atomic.Pointer[prometheus.Counter] // made when first counted
	duration prometheus.Observer
}

// codeClasses by the first digit of a status. The first is for exchanges that were torn
// down before one was sent.
var codeClasses = [6]string{"none", "1xx", "2xx", "3xx", "4xx", "5xx"}

func (m *Metrics) kind(name string) *kindMetrics {
	if k, ok := m.kinds.Load(name); ok {
		return k.(*kindMetrics) //nolint:forcetypeassert // only this function stores
	}
	k, _ := m.kinds.LoadOrStore(name, &kindMetrics{duration: m.duration.WithLabelValues(name)})
	return k.(*kindMetrics) //nolint:forcetypeassert // only this function stores
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

func (m *Metrics) begin() {
	if m != nil {
		m.inFlight.Inc()
	}
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
	m.inFlight.Dec()
	k := m.kind(rec.kind)
	class := rec.status / 100
	if class < 0 || class >= len(k.codes) {
		class = 0
	}
	c := k.codes[class].Load()
	if c == nil {
		made := m.requests.WithLabelValues(codeClasses[class], rec.kind)
		c = &made
		k.codes[class].Store(c)
	}
	(*c).Inc()
	// A WebSocket that lives for hours says nothing about how fast answers are.
	if !rec.hijacked {
		k.duration.Observe(float64(rec.took) / float64(time.Second))
	}
}
