package gate

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"sync"
	"testing"
	"time"
)

// TestMain is also the two Go proxies that the gate is measured against: as processes
// of their own, like the others.
func TestMain(m *testing.M) {
	if role := os.Getenv("GATE_BENCH_FLOOR"); role != "" {
		if err := floor(role == "pool", os.Getenv("GATE_BENCH_LISTEN"), os.Getenv("GATE_BENCH_UPSTREAM")); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// floor is the least that a proxy of net/http's parts can do: no log, no metrics, no
// decision. Its Transport keeps as many connections as there are clients.
func floor(pool bool, listen, upstream string) error {
	u, err := url.Parse(upstream)
	if err != nil {
		return err
	}
	rp := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(u) },
		Transport: &http.Transport{
			DisableCompression: true, MaxIdleConns: 1024, MaxIdleConnsPerHost: 1024, IdleConnTimeout: 10 * time.Minute,
		},
	}
	if pool {
		rp.BufferPool = &buffers{sync.Pool{New: func() any { b := make([]byte, 32<<10); return &b }}}
	}
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	return (&http.Server{Handler: rp, ReadHeaderTimeout: 10 * time.Second}).Serve(l)
}

type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte { p, _ := b.pool.Get().(*[]byte); return *p }

func (b *buffers) Put(p []byte) { b.pool.Put(&p) }
