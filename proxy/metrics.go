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
	decisions *prometheus.CounterVec
	faults    *prometheus.CounterVec
	auditLost prometheus.Counter
	admitted  prometheus.Counter // resolved once: the common case costs no look-up
	public    prometheus.Counter
}

func (m *gateMetrics) register(reg prometheus.Registerer) error {
	m.decisions = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "proxy_decisions_total", Help: "Decisions of the gate, by verdict and reason.",
	}, []string{"verdict", "reason"})
	m.faults = prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "proxy_upstream_faults_total", Help: "Requests that the application could not answer, by route and fault.",
	}, []string{"route", "fault"})
	m.auditLost = prometheus.NewCounter(prometheus.CounterOpts{
		Name: "proxy_audit_errors_total", Help: "Refusals whose audit event could not be kept. The refusal stood.",
	})
	m.admitted = m.decisions.WithLabelValues(string(Admit), "")
	m.public = m.decisions.WithLabelValues(string(Public), "")
	return registerAll(reg, m.decisions, m.faults, m.auditLost)
}

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
