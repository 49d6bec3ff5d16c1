package config

import (
	"strings"
	"time"

	"github.com/ssogate/ssogate/internal/header"
)

// validateForwarding checks how a request is changed on its way.
func (r *Route) validateForwarding(fs *faults, at string) {
	if r.Host != "" {
		if r.PreserveHost {
			fs.add(join(at, "host"), "stands beside preserve_host: both name the Host to send", "keep one")
		}
		if _, problem, _ := ParseOrigin("http://" + r.Host); problem != "" {
			fs.add(join(at, "host"), "not a host", "write it like app.internal or app.internal:8080")
		}
	}
	if r.AddPrefix != "" && (!canonicalPath(r.AddPrefix) || strings.Contains(strings.TrimSuffix(r.AddPrefix, "/"), "//")) {
		fs.add(join(at, "add_prefix"), "not a plain path", `start it with / and leave out %, ;, *, // and ..`)
	}
	if r.StripPrefix && r.PathPrefix == "/" {
		fs.add(join(at, "strip_prefix"), "has nothing to take off: path_prefix is /", "remove it, or set path_prefix")
	}
	if r.BodyLimit < 0 {
		fs.add(join(at, "body_limit"), "below zero", `write a size like "16MiB", or remove it`)
	}
}

// validate checks how upstreams are reached; url is the first of them.
func (b *Backend) validate(fs *faults, at, url string) {
	if b.TLS != (BackendTLS{}) && !strings.HasPrefix(url, "https://") {
		fs.add(join(at, "tls"), "is for https upstreams, and these are not", "write https:// in front of them, or remove it")
	}
	if (b.TLS.CertFile == "") != (b.TLS.KeyFile == "") {
		fs.add(join(at, "tls"), "has a certificate without its key, or the reverse", "set both, or neither")
	}
	if kind, name, ok := strings.Cut(b.Balance, ":"); b.Balance != "" && b.Balance != "least_connections" &&
		(!ok || kind != "header" && kind != "cookie" || !header.Token(name)) {
		fs.add(join(at, "balance"), "none of least_connections, header:NAME, cookie:NAME", `write it like "cookie:JSESSIONID"`)
	}
	switch b.Transport {
	case "", "direct", "standard":
	default:
		fs.add(join(at, "transport"), "neither direct nor standard", "remove it: direct is the default")
	}
	if p := b.Health.Path; p != "" && !canonicalPath(p) {
		fs.add(join(at, "health.path"), "not a plain path", `write it like "/healthz"`)
	}
	if b.Health.Path == "" && b.Health != (Health{}) {
		fs.add(join(at, "health"), "has no path, so nothing is asked", `add the path, like "/healthz"`)
	}
	for _, d := range []struct {
		key string
		is  time.Duration
	}{
		{"dial", b.Dial},
		{"header", b.Header},
		{"idle", b.Idle},
		{"silence", b.Silence},
		{"queue_wait", b.QueueWait},
		{"health.interval", b.Health.Interval},
		{"health.timeout", b.Health.Timeout},
	} {
		if d.is < 0 || d.is > 0 && d.is < 10*time.Millisecond {
			fs.add(join(at, d.key), "below 10 ms", `write it like "5s", or remove it for the default`)
		}
	}
	for _, n := range []struct {
		key string
		is  int
	}{{"concurrency", b.Concurrency}, {"queue", b.Queue}, {"health.unhealthy", b.Health.Unhealthy}, {"health.healthy", b.Health.Healthy}} {
		if n.is < 0 || n.is > 1_000_000 {
			fs.add(join(at, n.key), "below zero or beyond a million", "remove it for the default")
		}
	}
}
