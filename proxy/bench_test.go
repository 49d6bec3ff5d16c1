package proxy

import (
	"context"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"testing"

	"github.com/ssogate/ssogate/proxy/upstream"
	"github.com/ssogate/ssogate/proxy/wire"
)

// BenchmarkAdmittedRequest compares, in one run, a bare ReverseProxy with the
// same transport and buffers, the gate on a public path, and the gate with a
// cached principal: the ratios are what matters, not the times.
func BenchmarkAdmittedRequest(b *testing.B) {
	up := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(make([]byte, 1024)) }))
	defer up.Close()
	target, _ := url.Parse(up.URL)
	bare := &httputil.ReverseProxy{
		Transport: &http.Transport{DisableCompression: true, MaxIdleConnsPerHost: 512}, BufferPool: &upstream.Buffers{},
		Rewrite: func(pr *httputil.ProxyRequest) { pr.SetURL(target) },
	}
	routes, err := Compile([]RouteSpec{{Name: "app", Origins: []string{"https://" + appHost}, Upstream: up.URL, Public: []string{"/public/*"}}}, "https://sso.example.com")
	if err != nil {
		b.Fatal(err)
	}
	live, err := NewLive(LiveOptions{})
	if err != nil {
		b.Fatal(err)
	}
	gate, err := New(Options{
		Sessions: benchSessions{}, SignIn: &fakeSignIn{}, Reserved: http.NotFoundHandler(), Routes: routes, Live: live,
		GatewayURL: "https://sso.example.com", Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range []struct {
		name, path string
		h          http.Handler
	}{{"bare", "/x", bare}, {"gate-public", "/public/x", gate}, {"gate-admitted", "/x", gate}} {
		b.Run(c.name, func(b *testing.B) {
			front := httptest.NewUnstartedServer(c.h)
			front.Config.ConnContext = ConnContext
			front.Listener = wire.Listen(front.Listener, wire.Options{})
			front.Start()
			defer front.Close()
			b.ReportAllocs()
			for b.Loop() {
				q, _ := http.NewRequestWithContext(context.Background(), http.MethodGet, front.URL+c.path, nil)
				q.Host = appHost
				q.Header.Set("Cookie", cookieName+"=ana")
				res, err := front.Client().Do(q)
				if err != nil || res.StatusCode != 200 {
					b.Fatal(err, res)
				}
				_, _ = io.Copy(io.Discard, res.Body)
				_ = res.Body.Close()
			}
		})
	}
}
