package run

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ssogate/ssogate/sso/saml"
)

// notices are what an operator reads of each kind, and whether it needs him.
var notices = map[string]string{
	"metadata_failed":            "identity provider metadata cannot be refreshed; the last good one is used",
	"metadata_aging":             "identity provider metadata has not been renewed for half of its validity; after its end nobody can sign in through it",
	"metadata_expired":           "identity provider metadata has expired; nobody can sign in through it, sessions go on",
	"certificate_expiring":       "a signing certificate of the identity provider expires soon",
	"certificate_expired":        "a signing certificate of the identity provider has expired; what it signs is refused",
	"name_id_transient":          "identity provider offers transient NameIDs only, which are refused: choose a persistent one there",
	"provider.change_pending":    "identity provider metadata has changed and waits for approval; see \"ssogate provider changes\"",
	"provider.change_accepted":   "identity provider metadata has changed and was accepted (auto_accept)",
	"provider.metadata_narrowed": "identity provider has withdrawn certificates or endpoints",
	"provider.metadata_trusted":  "identity provider metadata was read for the first time",
}

// notice logs what happened to a provider's metadata. What changed is in the audit
// trail already.
func (s *Server) notice(provider string, n saml.Notice) {
	args := []any{"provider", provider, "notice", n.Kind}
	for _, k := range slices.Sorted(maps.Keys(n.Detail)) {
		args = append(args, k, n.Detail[k])
	}
	if n.Err != nil {
		args = append(args, "err", n.Err)
	}
	text := notices[n.Kind]
	if n.Kind == "provider.metadata_trusted" {
		s.log.Info(text, args...)
		return
	}
	s.log.Warn(text, args...)
}

// reloadMetadata makes this node use what was approved.
func (s *Server) reloadMetadata(ctx context.Context) error {
	for id, p := range s.providers.all() {
		if p, ok := p.Provider.(*saml.Provider); ok {
			if err := p.Reload(ctx); err != nil {
				return fmt.Errorf("run: provider %s: %w", id, err)
			}
		}
	}
	return nil
}

// samlMetrics are read from the providers whenever somebody asks (faults 10, 11).
type samlMetrics struct{ s *Server }

var (
	certExpiry  = prometheus.NewDesc("idp_cert_expiry_seconds", "Time until the last of the provider's signing certificates expires; negative after that.", []string{"provider"}, nil)
	metadataAge = prometheus.NewDesc("metadata_age_seconds", "Time since the provider's metadata was last read or confirmed.", []string{"provider"}, nil)
)

// Describe implements prometheus.Collector.
func (m *samlMetrics) Describe(ch chan<- *prometheus.Desc) {
	ch <- certExpiry
	ch <- metadataAge
}

// Collect implements prometheus.Collector. It waits for no fetch.
func (m *samlMetrics) Collect(ch chan<- prometheus.Metric) {
	now := m.s.now()
	for id, p := range m.s.providers.all() {
		p, ok := p.Provider.(*saml.Provider)
		if !ok {
			continue
		}
		h := p.Health()
		if !h.CertExpiry.IsZero() {
			ch <- prometheus.MustNewConstMetric(certExpiry, prometheus.GaugeValue, h.CertExpiry.Sub(now).Seconds(), id)
		}
		// A file has no age that anybody could mend by fetching.
		set, _ := m.s.settings.Load().Provider(id)
		if set.SAML.MetadataURL != "" && !h.MetadataRead.IsZero() {
			ch <- prometheus.MustNewConstMetric(metadataAge, prometheus.GaugeValue, now.Sub(h.MetadataRead).Seconds(), id)
		}
	}
}

var _ prometheus.Collector = (*samlMetrics)(nil)
