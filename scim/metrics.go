package scim

import (
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

type metrics struct {
	requests  *prometheus.CounterVec
	duration  *prometheus.HistogramVec
	tolerated *prometheus.CounterVec
	panics    prometheus.Counter
	emptied   prometheus.Counter
}

// newMetrics registers scim_requests_total{kind,method,code},
// scim_request_duration_seconds{kind,method}, scim_tolerated_total{rule},
// scim_panics_total and scim_groups_emptied_total. All labels are from closed sets: no client can make a
// new series.
func newMetrics(reg prometheus.Registerer) (*metrics, error) {
	m := &metrics{
		requests: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "scim_requests_total", Help: "SCIM requests answered.",
		}, []string{"kind", "method", "code"}),
		duration: prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: "scim_request_duration_seconds", Help: "Time to answer a SCIM request, cut-off barrier included.",
			Buckets: []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 10, 30},
		}, []string{"kind", "method"}),
		tolerated: prometheus.NewCounterVec(prometheus.CounterOpts{
			Name: "scim_tolerated_total", Help: "Requests that needed a tolerance rule, by rule.",
		}, []string{"rule"}),
		panics: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "scim_panics_total", Help: "Panics recovered while answering SCIM. Any value above 0 is a bug worth reporting.",
		}),
		emptied: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "scim_groups_emptied_total", Help: "PUTs of a group without members, which removed all it had. A client that forgets them shows here.",
		}),
	}
	if reg == nil {
		return m, nil
	}
	for _, c := range []prometheus.Collector{m.requests, m.duration, m.tolerated, m.panics, m.emptied} {
		if err := reg.Register(c); err != nil {
			return nil, fmt.Errorf("scim: metrics: %w", err)
		}
	}
	return m, nil
}

func (m *metrics) observe(kind, method string, status int, took time.Duration, rules []string) {
	switch method {
	case http.MethodGet, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete:
	default:
		method = "other"
	}
	m.requests.WithLabelValues(kind, method, strconv.Itoa(status)).Inc()
	m.duration.WithLabelValues(kind, method).Observe(took.Seconds())
	for _, r := range rules {
		m.tolerated.WithLabelValues(r).Inc()
	}
}
