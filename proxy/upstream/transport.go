package upstream

import (
	"net"
	"net/http"
	"sync"
	"time"
)

// Options of [NewTransport]. Zero values mean the defaults named.
type Options struct {
	Dial   time.Duration // connecting, names and TLS included; default 3s
	Header time.Duration // from the request sent to the response's headers; default 60s
}

// NewTransport makes the transport shared by all routes. It never uses a proxy
// from the environment, never decompresses (bytes pass as they are), and keeps
// many idle connections per application, because a gateway talks to few hosts
// and redialling would cost more than the request. There is no limit on the
// whole exchange: streams last as long as they last.
func NewTransport(o Options) *http.Transport {
	if o.Dial <= 0 {
		o.Dial = 3 * time.Second
	}
	if o.Header <= 0 {
		o.Header = 60 * time.Second
	}
	d := &net.Dialer{Timeout: o.Dial, KeepAlive: 30 * time.Second}
	return &http.Transport{
		DialContext:            d.DialContext,
		TLSHandshakeTimeout:    o.Dial,
		ResponseHeaderTimeout:  o.Header,
		ExpectContinueTimeout:  time.Second,
		DisableCompression:     true,
		ForceAttemptHTTP2:      true, // for https; Upgrade requests still go by HTTP/1.1
		MaxIdleConns:           2048,
		MaxIdleConnsPerHost:    512,
		IdleConnTimeout:        50 * time.Second, // most servers close at 60 s or more: we close first
		MaxResponseHeaderBytes: 256 << 10,
	}
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
