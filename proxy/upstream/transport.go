package upstream

import (
	"context"
	"net"
	"net/http"
	"net/http/httptrace"
	"sync"
	"time"

	"github.com/ssogate/ssogate/proxy/upstream/h1"
)

// roundTripper is a transport to one address.
type roundTripper interface {
	http.RoundTripper
	CloseIdleConnections()
}

// newTransport makes the transport of one address.
func newTransport(a address, s Spec) (roundTripper, error) {
	d := &net.Dialer{Timeout: s.Times.Dial, KeepAlive: 30 * time.Second}
	network := "tcp"
	if a.scheme == "unix" {
		network = "unix"
	}
	dial := func(ctx context.Context) (net.Conn, error) { return d.DialContext(ctx, network, a.dial) }
	if s.Transport == Direct && (a.scheme == "http" || a.scheme == "unix") {
		return h1.New(h1.Options{
			Dial: dial, DialTimeout: s.Times.Dial, Header: s.Times.Header, Silence: s.Times.Silence, IdleTimeout: s.Times.Idle,
			BeforeRetry: recheck,
		}), nil
	}
	t := &http.Transport{
		// Never a proxy from the environment; bytes pass as they are.
		DialContext:           func(ctx context.Context, _, _ string) (net.Conn, error) { return dial(ctx) },
		TLSHandshakeTimeout:   s.Times.Dial,
		ResponseHeaderTimeout: s.Times.Header,
		ExpectContinueTimeout: time.Second,
		DisableCompression:    true,
		// A gateway talks to few hosts, and redialling costs more than the request.
		MaxIdleConns: 2048, MaxIdleConnsPerHost: 512, IdleConnTimeout: s.Times.Idle,
		MaxResponseHeaderBytes: 256 << 10,
	}
	switch a.scheme {
	case "https":
		c, err := s.TLS.config()
		if err != nil {
			return nil, err
		}
		t.TLSClientConfig = c
		t.ForceAttemptHTTP2 = true // Upgrade requests still go by HTTP/1.1
	case "h2c":
		p := &http.Protocols{}
		p.SetUnencryptedHTTP2(true)
		t.Protocols = p
	}
	return traced{t}, nil
}

// traced tells whoever takes interim responses of them, in net/http's way.
type traced struct{ *http.Transport }

// RoundTrip implements http.RoundTripper.
func (t traced) RoundTrip(req *http.Request) (*http.Response, error) {
	if i, ok := req.Context().(h1.Interims); ok {
		req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{Got1xxResponse: i.Got1xx}))
	}
	return t.Transport.RoundTrip(req)
}

// recheckKey is the context key of a [Recheck].
type recheckKey struct{}

// RecheckKey is answered by a request's context with a [Recheck].
var RecheckKey any = recheckKey{}

// Recheck is asked before a request is sent that has waited, or is sent again: who
// asks may have been cut off meanwhile (C10). An error ends the request.
type Recheck func() error

func recheck(ctx context.Context) error {
	if f, ok := ctx.Value(RecheckKey).(Recheck); ok && f != nil {
		return f()
	}
	return nil
}

// Buffers implements httputil.BufferPool: without it every response allocates
// 32 KiB. The zero value is ready; safe for concurrent use.
type Buffers struct{ pool sync.Pool }

const bufferSize = 32 << 10

// Get returns a buffer of 32 KiB with anything in it.
func (b *Buffers) Get() []byte {
	if a, ok := b.pool.Get().(*[bufferSize]byte); ok {
		return a[:]
	}
	return make([]byte, bufferSize)
}

// Put takes a buffer back. One of another size is left to the collector.
func (b *Buffers) Put(s []byte) {
	if len(s) == bufferSize {
		b.pool.Put((*[bufferSize]byte)(s))
	}
}
