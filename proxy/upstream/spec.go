package upstream

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// Spec is where a route's requests go, as the operator wrote it. Zero values mean
// the defaults named.
type Spec struct {
	// URLs of the application, all of one scheme: http://, https://, h2c:// (HTTP/2
	// without TLS, with prior knowledge: RFC 9113 section 3.3) with host and port, or
	// unix:/path of a socket that speaks HTTP/1.1.
	URLs []string
	TLS  TLS
	// Balance chooses among several: "" or "least_connections"; "header:NAME" or
	// "cookie:NAME" keep what has the same value at the same one.
	Balance string
	Health  Health
	Times   Times

	Concurrency int           // requests at once for each URL, streams not counted; default 4096
	Queue       int           // requests that wait for their turn; default Concurrency
	QueueWait   time.Duration // and for how long; default 10s
	NoRetries   bool          // also not of what can be repeated safely
	Transport   string        // "direct" (default) for http and unix, or "standard"
}

// TLS is how an https application is recognized, and how it recognizes us.
type TLS struct {
	CAFile     string // PEM; the system's CAs when empty
	CertFile   string // our certificate, PEM
	KeyFile    string
	ServerName string // in the certificate; default the host of the URL
}

// Health is how it is found out that an application is there again, or gone. With an
// empty Path only failing requests tell.
type Health struct {
	Path      string        // asked by GET; any answer below 400 is good
	Interval  time.Duration // default 10s
	Timeout   time.Duration // default 2s
	Unhealthy int           // failures in a row that take it out, default 3
	Healthy   int           // successes in a row that bring it back, default 2
}

// Times are limits of one exchange. The whole has none: streams last as they last.
type Times struct {
	Dial    time.Duration // connecting, names and TLS included; default 3s
	Header  time.Duration // from the request sent to the response's headers; default 60s
	Idle    time.Duration // an unused connection is kept; default 50s
	Silence time.Duration // without a byte inside a body; default none. Direct transport only.
}

// Values of Spec.Balance and Spec.Transport.
const (
	LeastConnections = "least_connections"
	Direct           = "direct"
	Standard         = "standard"
)

func (s Spec) withDefaults() Spec {
	for d, v := range map[*time.Duration]time.Duration{
		&s.Times.Dial: 3 * time.Second, &s.Times.Header: 60 * time.Second,
		// Most servers close at 60 s or more: we close first.
		&s.Times.Idle: 50 * time.Second, &s.QueueWait: 10 * time.Second,
		&s.Health.Interval: 10 * time.Second, &s.Health.Timeout: 2 * time.Second,
	} {
		if *d <= 0 {
			*d = v
		}
	}
	for n, v := range map[*int]int{&s.Concurrency: 4096, &s.Health.Unhealthy: 3, &s.Health.Healthy: 2} {
		if *n <= 0 {
			*n = v
		}
	}
	if s.Queue <= 0 {
		s.Queue = s.Concurrency
	}
	if s.Balance == "" {
		s.Balance = LeastConnections
	}
	if s.Transport == "" {
		s.Transport = Direct
	}
	return s
}

// Equal reports whether two specs ask for the same: a reload then keeps the pool and
// its connections. Files are compared by name; a reload after a change of their
// content is told by [Spec.Stamp].
func (s Spec) Equal(o Spec) bool {
	if !slices.Equal(s.URLs, o.URLs) {
		return false
	}
	s.URLs, o.URLs = nil, nil
	return fmt.Sprintf("%+v", s) == fmt.Sprintf("%+v", o)
}

// Stamp names the content of the files of a spec as far as their times and sizes do.
func (s Spec) Stamp() string {
	var b strings.Builder
	for _, f := range []string{s.TLS.CAFile, s.TLS.CertFile, s.TLS.KeyFile} {
		if info, err := os.Stat(f); f != "" && err == nil {
			fmt.Fprintf(&b, "%s %d %d;", f, info.Size(), info.ModTime().UnixNano())
		}
	}
	return b.String()
}

// address is one URL of a spec, read.
type address struct {
	scheme string // http, https, h2c or unix
	host   string // host[:port] as in the Host header; "localhost" for a socket
	dial   string // host:port, or the socket's path
}

func parseAddress(raw string) (address, error) {
	if path, ok := strings.CutPrefix(raw, "unix:"); ok {
		path = strings.TrimPrefix(path, "//")
		if !filepath.IsAbs(path) || len(path) > 100 {
			return address{}, fmt.Errorf("%q is not unix: and the absolute path of a socket", raw)
		}
		return address{"unix", "localhost", path}, nil
	}
	u, err := url.Parse(raw)
	ports := map[string]string{"http": "80", "https": "443", "h2c": "80"}
	switch {
	case err != nil, ports[u.Scheme] == "", u.Host == "", u.Hostname() == "":
		return address{}, fmt.Errorf("%q is none of http://, https://, h2c:// with a host, or unix:/path", raw)
	case u.User != nil, u.RawQuery != "", u.ForceQuery, u.Fragment != "", u.Path != "" && u.Path != "/":
		// A base path would have to be joined, and then what is forwarded is no
		// longer what was decided about.
		return address{}, fmt.Errorf("%q has more than scheme, host and port", raw)
	}
	port := u.Port()
	if port == "" {
		port = ports[u.Scheme]
	}
	name := u.Hostname()
	if strings.Contains(name, ":") {
		name = "[" + name + "]"
	}
	return address{u.Scheme, u.Host, name + ":" + port}, nil
}

// check answers the addresses of a spec, or every fault.
func (s Spec) check() ([]address, error) {
	var out []address
	var faults []error
	for i, raw := range s.URLs {
		a, err := parseAddress(raw)
		switch {
		case err != nil:
			faults = append(faults, fmt.Errorf("upstream %w", err))
			continue
		case len(out) > 0 && a.scheme != out[0].scheme:
			faults = append(faults, fmt.Errorf("upstream %q has another scheme than the first", raw))
		case slices.Contains(s.URLs[:i], raw):
			faults = append(faults, fmt.Errorf("upstream %q is there twice", raw))
		}
		out = append(out, a)
	}
	if len(s.URLs) == 0 {
		faults = append(faults, errors.New("no upstream"))
	}
	if s.TLS != (TLS{}) && len(out) > 0 && out[0].scheme != "https" {
		faults = append(faults, errors.New("tls of an upstream that is not https"))
	}
	if kind, name, ok := strings.Cut(s.Balance, ":"); s.Balance != "" && s.Balance != LeastConnections &&
		(!ok || kind != "header" && kind != "cookie" || !token(name)) {
		faults = append(faults, fmt.Errorf("balance %q is none of least_connections, header:NAME, cookie:NAME", s.Balance))
	}
	if s.Transport != "" && s.Transport != Direct && s.Transport != Standard {
		faults = append(faults, fmt.Errorf("transport %q is neither direct nor standard", s.Transport))
	}
	if p := s.Health.Path; p != "" && (p[0] != '/' || strings.ContainsAny(p, " #\r\n\x00")) {
		faults = append(faults, fmt.Errorf("health path %q is not a path", p))
	}
	return out, errors.Join(faults...)
}

// token reports a header or cookie name (RFC 9110 section 5.6.2).
func token(s string) bool {
	if s == "" {
		return false
	}
	for i := range len(s) {
		c := s[i]
		if c <= ' ' || c >= 0x7f || strings.IndexByte(`()<>@,;:\"/[]?={}`, c) >= 0 {
			return false
		}
	}
	return true
}

// config is the client side of TLS.
func (t TLS) config() (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12, ServerName: t.ServerName}
	if t.CAFile != "" {
		pem, err := os.ReadFile(t.CAFile)
		if err != nil {
			return nil, fmt.Errorf("tls ca: %w", err)
		}
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM(pem) {
			return nil, fmt.Errorf("tls ca: %s holds no PEM certificate", t.CAFile)
		}
	}
	if (t.CertFile == "") != (t.KeyFile == "") {
		return nil, errors.New("tls: a certificate without its key, or the reverse")
	}
	if t.CertFile != "" {
		cert, err := tls.LoadX509KeyPair(t.CertFile, t.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("tls certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{cert}
	}
	return c, nil
}

// idempotent methods may be sent again when it is not known whether the first one
// arrived (RFC 9110 section 9.2.2).
func idempotent(method string) bool {
	switch method {
	case http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete:
		return true
	}
	return false
}
