package run

import (
	"crypto/tls"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/ssogate/ssogate/config"
)

// certificates are those of the public listener, replaced whole by a reload.
type certificates struct {
	list atomic.Pointer[[]tls.Certificate]
}

// readCertificates reads every pair of the config. The first is for clients that name
// no host, or one that no certificate fits.
func readCertificates(c *config.Config) ([]tls.Certificate, error) {
	if c.TLS.CertFile == "" {
		return nil, nil
	}
	pairs := append([]config.Certificate{{CertFile: c.TLS.CertFile, KeyFile: c.TLS.KeyFile}}, c.TLS.Certificates...)
	var list []tls.Certificate
	var errs []error
	for _, p := range pairs {
		cert, err := tls.LoadX509KeyPair(p.CertFile, p.KeyFile)
		if err != nil {
			errs = append(errs, fmt.Errorf("run: certificate %s: %w", p.CertFile, err))
			continue
		}
		list = append(list, cert)
	}
	return list, errors.Join(errs...)
}

// get is tls.Config.GetCertificate: the first that fits the client and the name it
// asks for. A client that asks for a name of nobody's is not told which others there
// are; it gets the first, and its request is refused by host (421).
func (cs *certificates) get(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	p := cs.list.Load()
	if p == nil || len(*p) == 0 {
		return nil, errors.New("run: no certificate")
	}
	list := *p
	for i := range list {
		if hello.SupportsCertificate(&list[i]) == nil {
			return &list[i], nil
		}
	}
	return &list[0], nil
}

func (cs *certificates) config() *tls.Config {
	return &tls.Config{GetCertificate: cs.get, MinVersion: tls.VersionTLS12}
}

// uncovered lists the https hosts of a config for which no certificate was given. A
// browser would warn, so the operator is warned first.
func uncovered(c *config.Config, list []tls.Certificate) []string {
	if len(list) == 0 {
		return nil // TLS ends elsewhere
	}
	origins := []string{c.URL}
	for i := range c.Routes {
		origins = append(origins, c.Routes[i].Origins...)
	}
	var out []string
	for _, text := range origins {
		// "x" stands for the label: a wildcard covers each.
		o, problem, _ := config.ParseOrigin(strings.Replace(text, "*.", "x.", 1))
		if problem != "" || o.Scheme != "https" || covered(o.Host, list) {
			continue
		}
		out = append(out, text)
	}
	return out
}

func covered(host string, list []tls.Certificate) bool {
	for i := range list {
		if list[i].Leaf != nil && list[i].Leaf.VerifyHostname(host) == nil {
			return true
		}
	}
	return false
}
