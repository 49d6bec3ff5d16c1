package proxy

import (
	"errors"
	"fmt"

	"github.com/prometheus/client_golang/prometheus"
)

// liveMetrics count what is running and what was cut.
type liveMetrics struct {
	tunnels prometheus.Gauge
	cut     *prometheus.CounterVec
	forced  prometheus.Counter
}

// register makes the metrics; reg may be nil (tests), then nothing is exposed.
func (m *liveMetrics) register(l *Live, reg prometheus.Registerer) error {
	m.tunnels = prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "proxy_websockets_open", Help: "Upgraded connections open now.",
	})
	m.cut = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "proxy_cut_total", Help: "Requests and streams ended by the gateway, by cause.",
	}, []string{"cause"})
	m.forced = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "proxy_cut_forced_total", Help: "Of those, connections torn down because their handler did not leave in time.",
	})
	open := prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "proxy_requests_in_flight", Help: "Forwarded requests and streams now, upgraded ones included.",
	}, func() float64 {
		l.mu.Lock()
		defer l.mu.Unlock()
		return float64(l.total)
	})
	return registerAll(reg, m.tunnels, m.cut, m.forced, open)
}

// gateMetrics count decisions and what went wrong behind them.
type gateMetrics struct {
	decisions              *prometheus.CounterVec
	faults                 *prometheus.CounterVec
	forms                  *prometheus.CounterVec
	auditLost              prometheus.Counter
	busy, waiting, healthy *prometheus.Desc
	admitted               prometheus.Counter // resolved once: the common case costs no look-up
	public                 prometheus.Counter
}

func (m *gateMetrics) register(reg prometheus.Registerer) error {
	m.decisions = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "proxy_decisions_total", Help: "Decisions of the gate, by verdict and reason.",
	}, []string{"verdict", "reason"})
	m.faults = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "proxy_upstream_faults_total", Help: "Requests that the application could not answer, by route and fault.",
	}, []string{"route", "fault"})
	m.forms = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "proxy_forms_total", Help: "Forms that met a session that had run out, by what became of them.",
	}, []string{"result"})
	m.auditLost = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "proxy_audit_errors_total", Help: "Refusals whose audit event could not be kept. The refusal stood.",
	})
	m.busy = prometheus.NewDesc("proxy_upstream_requests", "Requests at the upstreams of a route now, streams not counted.", []string{"route"}, nil)
	m.waiting = prometheus.NewDesc("proxy_upstream_waiting", "Requests that wait for an upstream of a route.", []string{"route"}, nil)
	m.healthy = prometheus.NewDesc("proxy_upstream_healthy", "1: the upstream is used. 0: it is out, by its health check or by failing requests.", []string{"route", "upstream"}, nil)
	m.admitted = m.decisions.WithLabelValues(string(Admit), "")
	m.public = m.decisions.WithLabelValues(string(Public), "")
	return registerAll(reg, m.decisions, m.faults, m.forms, m.auditLost)
}

// upstreams tells of the pools of now when somebody asks.
type upstreams struct{ g *Gate }

// Describe implements prometheus.Collector.
func (u upstreams) Describe(ch chan<- *prometheus.Desc) {
	ch <- u.g.metrics.busy
	ch <- u.g.metrics.waiting
	ch <- u.g.metrics.healthy
}

// Collect implements prometheus.Collector.
func (u upstreams) Collect(ch chan<- prometheus.Metric) {
	m := &u.g.metrics
	for _, rt := range u.g.routes.Load().all {
		requests, waiting, _ := rt.pool.Load()
		ch <- prometheus.MustNewConstMetric(m.busy, prometheus.GaugeValue, float64(requests), rt.name)
		ch <- prometheus.MustNewConstMetric(m.waiting, prometheus.GaugeValue, float64(waiting), rt.name)
		for _, s := range rt.pool.States() {
			up := 0.0
			if s.Healthy {
				up = 1
			}
			ch <- prometheus.MustNewConstMetric(m.healthy, prometheus.GaugeValue, up, rt.name, s.URL)
		}
	}
}

var _ prometheus.Collector = upstreams{}

func registerAll(reg prometheus.Registerer, cs ...prometheus.Collector) error {
	if reg == nil {
		return nil
	}
	var errs []error
	for _, c := range cs {
		if err := reg.Register(c); err != nil {
			errs = append(errs, fmt.Errorf("proxy: metrics: %w", err))
		}
	}
	return errors.Join(errs...)
}
