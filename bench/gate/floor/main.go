package main

import (
	"flag"
	"fmt"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"time"

	"github.com/ssogate/ssogate/proxy/upstream"
)

func main() {
	listen := flag.String("listen", "127.0.0.1:0", "where to listen")
	to := flag.String("upstream", "", "where requests go")
	pool := flag.Bool("pool", false, "copy bodies by pooled buffers")
	flag.Parse()
	if err := serve(*listen, *to, *pool); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "floor:", err)
		os.Exit(1)
	}
}

func serve(listen, to string, pool bool) error {
	target, err := url.Parse(to)
	if err != nil {
		return err
	}
	p := &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(target) },
		Transport: &http.Transport{
			DialContext:        (&net.Dialer{Timeout: 3 * time.Second}).DialContext,
			DisableCompression: true, MaxIdleConns: 2048, MaxIdleConnsPerHost: 512, IdleConnTimeout: 50 * time.Second,
		},
		ErrorLog: log.New(os.Stderr, "", 0),
	}
	if pool {
		p.BufferPool = &upstream.Buffers{}
	}
	srv := &http.Server{Addr: listen, Handler: p, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute}
	return srv.ListenAndServe()
}
