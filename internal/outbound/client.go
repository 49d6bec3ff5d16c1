package outbound

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

// Limits of a client unless Options say otherwise.
const (
	DefaultTimeout = 10 * time.Second // whole exchange, redirects and body included
	DefaultMaxBody = 1 << 20          // bytes, after decompression
	MaxRedirects   = 3

	dialTimeout    = 3 * time.Second // per address, so that one dead address leaves time for the next
	maxHeaderBytes = 64 << 10
	maxAddresses   = 8 // tried per name; a name with thousands of addresses must not use up the deadline
)

// Resolver looks names up. *net.Resolver is one.
type Resolver interface {
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Options of a client. The zero value reaches only the public internet.
type Options struct {
	// Allow lists what the operator opened: host, host:port, address or CIDR.
	// A named host may have a private address and may be spoken to without TLS;
	// a CIDR opens addresses (and plain http only to an address written out in
	// the URL). Cloud metadata addresses stay refused.
	Allow    []string
	Timeout  time.Duration  // whole exchange; 0 = DefaultTimeout
	MaxBody  int64          // bytes; 0 = DefaultMaxBody
	RootCAs  *x509.CertPool // nil = the system's
	Resolver Resolver       // nil = the system's
}

// RefusedError means that a request was not sent, or a connection not made,
// because of where it leads. errors.As finds it inside the *url.Error that
// http.Client returns.
type RefusedError struct {
	Target string // host, address or scheme; never a whole URL, which may hold a code or token
	Reason string
}

func (e *RefusedError) Error() string {
	return fmt.Sprintf("outbound: %s refused: %s (outbound.allow lists exceptions)", e.Target, e.Reason)
}

// ErrTooLarge means that a body was longer than Options.MaxBody.
var ErrTooLarge = errors.New("outbound: response body is too large")

// New makes a client that is safe to use with URLs named by others. It is safe
// for concurrent use. The error names the first unreadable entry of Allow.
func New(o Options) (*http.Client, error) {
	allow, err := parseAllow(o.Allow)
	if err != nil {
		return nil, err
	}
	if o.Timeout < 0 || o.MaxBody < 0 {
		return nil, errors.New("outbound: negative limit")
	}
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	if o.MaxBody == 0 {
		o.MaxBody = DefaultMaxBody
	}
	if o.Resolver == nil {
		o.Resolver = net.DefaultResolver
	}
	d := &dialer{allow: allow, rules: newRules(), resolver: o.Resolver}
	t := &transport{allow: allow, maxBody: o.MaxBody, next: &http.Transport{
		Proxy:                  nil, // see the package comment
		DialContext:            d.dial,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: o.RootCAs},
		TLSHandshakeTimeout:    5 * time.Second,
		ResponseHeaderTimeout:  o.Timeout,
		MaxResponseHeaderBytes: maxHeaderBytes,
		MaxIdleConns:           32,
		MaxIdleConnsPerHost:    2,
		MaxConnsPerHost:        32,
		IdleConnTimeout:        30 * time.Second,
		ForceAttemptHTTP2:      true,
	}}
	return &http.Client{Transport: t, CheckRedirect: checkRedirect, Timeout: o.Timeout}, nil
}

// checkRedirect bounds the chain and never lets it leave TLS. The next hop's
// scheme, host and address are judged like the first's, by transport and dialer.
func checkRedirect(r *http.Request, via []*http.Request) error {
	if len(via) > MaxRedirects {
		return &RefusedError{Target: r.URL.Hostname(), Reason: fmt.Sprintf("more than %d redirects", MaxRedirects)}
	}
	if via[len(via)-1].URL.Scheme == "https" && r.URL.Scheme != "https" {
		return &RefusedError{Target: r.URL.Hostname(), Reason: "redirect from https to " + r.URL.Scheme}
	}
	return nil
}

// transport judges the URL of every request, redirected ones included, and
// bounds what comes back.
type transport struct {
	allow   allowList
	maxBody int64
	next    *http.Transport
}

// RoundTrip implements http.RoundTripper.
func (t *transport) RoundTrip(r *http.Request) (*http.Response, error) {
	if err := t.check(r.URL); err != nil {
		if r.Body != nil {
			_ = r.Body.Close() // the RoundTripper contract: closed on every path
		}
		return nil, err
	}
	resp, err := t.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	if resp.ContentLength > t.maxBody {
		_ = resp.Body.Close()
		return nil, ErrTooLarge
	}
	resp.Body = &limitedBody{ReadCloser: resp.Body, left: t.maxBody}
	return resp, nil
}

// CloseIdleConnections lets http.Client.CloseIdleConnections reach the pool.
func (t *transport) CloseIdleConnections() { t.next.CloseIdleConnections() }

func (t *transport) check(u *url.URL) error {
	host, port := u.Hostname(), u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	switch {
	case u.Scheme != "https" && u.Scheme != "http":
		return &RefusedError{Target: "scheme " + u.Scheme, Reason: "only https is spoken"}
	case host == "":
		return &RefusedError{Target: "URL", Reason: "no host"}
	case u.User != nil:
		return &RefusedError{Target: host, Reason: "user name or password in the URL"}
	case looksNumeric(host):
		return &RefusedError{Target: host, Reason: "ambiguous spelling of an address"}
	case u.Scheme == "http" && !t.allow.host(host, port):
		return &RefusedError{Target: host, Reason: "plain http"}
	}
	return nil
}

// dialer resolves and connects. Control is the gate that counts: the kernel is
// about to connect to exactly the address it is shown.
type dialer struct {
	allow    allowList
	rules    rules
	resolver Resolver
}

func (d *dialer) dial(ctx context.Context, network, target string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(target)
	if err != nil {
		return nil, fmt.Errorf("outbound: dial: %w", err)
	}
	named := d.allow.host(host, port)
	nd := &net.Dialer{
		Timeout: dialTimeout, KeepAlive: 15 * time.Second,
		Control: func(_, address string, _ syscall.RawConn) error { return d.control(address, named) },
	}
	addrs, err := d.lookup(ctx, host)
	if err != nil {
		return nil, err
	}
	var errs []error
	for _, a := range addrs {
		c, err := nd.DialContext(ctx, network, net.JoinHostPort(a.String(), port))
		if err == nil {
			return c, nil
		}
		errs = append(errs, err)
		if ctx.Err() != nil {
			break
		}
	}
	return nil, fmt.Errorf("outbound: connect: %w", errors.Join(errs...))
}

func (d *dialer) lookup(ctx context.Context, host string) ([]netip.Addr, error) {
	if a, err := netip.ParseAddr(host); err == nil {
		return []netip.Addr{a}, nil
	}
	addrs, err := d.resolver.LookupNetIP(ctx, "ip", host)
	if err != nil {
		return nil, fmt.Errorf("outbound: resolve: %w", err)
	}
	if len(addrs) == 0 {
		return nil, fmt.Errorf("outbound: resolve %s: no address", host)
	}
	return addrs[:min(len(addrs), maxAddresses)], nil
}

// control judges the address of a socket about to connect. named means that
// the operator wrote this very host into outbound.allow.
func (d *dialer) control(address string, named bool) error {
	ap, err := netip.ParseAddrPort(address)
	if err != nil {
		return &RefusedError{Target: address, Reason: "not an address"}
	}
	reason := d.rules.verdict(ap.Addr(), func(a netip.Addr) bool { return named || d.allow.address(a) })
	if reason != "" {
		return &RefusedError{Target: ap.Addr().String(), Reason: reason}
	}
	return nil
}

var _ http.RoundTripper = (*transport)(nil)
