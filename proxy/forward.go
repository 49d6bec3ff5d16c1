package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"strings"
	"sync"

	"github.com/ssogate/ssogate/internal/web"
	"github.com/ssogate/ssogate/proxy/upstream"
)

// forward sends the registered request to the application and streams the
// answer. It panics with http.ErrAbortHandler when the answer broke after it had
// begun, so that the client sees an aborted transfer and never a clean end
// (fault 14).
func (x *exchange) forward(r *http.Request) {
	tunneled := false
	defer func() {
		if !tunneled {
			x.leave()
		}
	}()
	if r.Body != nil && r.Body != http.NoBody {
		x.body.ReadCloser = r.Body
		r.Body = &x.body // r is ours: enter copied it
	}
	x.g.rp.ServeHTTP(x, r)
	if x.app != nil {
		tunneled = x.tunnel(r)
		return
	}
	x.stripTrailers()
}

// tunnel completes an upgrade once ReverseProxy, which would hold its own buffers
// and this goroutine for as long as it lasts, has returned. When it answers true,
// pumps own the exchange and nothing of it may be touched any more.
func (x *exchange) tunnel(r *http.Request) bool {
	t, err := x.flight.hijack(r.Context(), x.app)
	if err != nil {
		_ = x.app.Close()
		x.g.upstreamFailed(x, r, err)
		return false
	}
	// The application's fields beside what was set before it was asked, as
	// ReverseProxy does it.
	h := x.Header()
	for name, v := range x.res.Header {
		h[name] = append(h[name], v...)
	}
	var head bytes.Buffer
	res := *x.res
	res.Header, res.Body = h, nil
	_ = res.Write(&head)
	// The exchange stays with its flight; what hangs on it does not.
	x.flight.cancel(nil)
	x.flight.cancel = nil
	x.ResponseWriter, x.res, x.app, x.body.ReadCloser = nil, nil, nil, nil
	t.start(head.Bytes())
	return true
}

// rewrite makes the request for the application. ReverseProxy has removed the
// hop-by-hop fields by now, also those that Connection named: what is set here
// cannot be taken away by the client (row H02).
func rewrite(pr *httputil.ProxyRequest) {
	x := exchangeOf(pr.In.Context())
	out := pr.Out
	// Opaque goes into the request line as it is: re-encoding a parsed path, or
	// cleaning the query as ReverseProxy does, would forward something else than
	// what was decided about (G3).
	out.URL = &url.URL{
		Scheme: x.rt.upstream.Scheme, Host: x.rt.upstream.Host,
		Opaque: x.q.Path, RawQuery: x.q.Query, ForceQuery: x.q.Asked,
	}
	if out.Host = x.rt.host; out.Host == "" {
		out.Host = x.st.host
	}
	// Request trailers would arrive after we looked at the headers; nobody we
	// know needs them in this direction.
	out.Trailer = nil
	stripManaged(out.Header)
	stripCookies(out.Header, x.g.o.Sessions.IsOurCookie)
	vals := make([]string, 0, 9)
	vals = setClientFacts(out.Header, x.st, clientAddr(pr.In), vals)
	setIdentity(out.Header, x.p, vals)
}

// clientAddr is what internal/web decided, or the socket's address outside of it.
func clientAddr(r *http.Request) netip.Addr {
	if a := web.ClientAddr(r.Context()); a.IsValid() {
		return a
	}
	ap, err := netip.ParseAddrPort(r.RemoteAddr)
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

var (
	errUnasked  = errors.New("proxy: application switched protocols unasked")
	errNotStill = errors.New("proxy: principal went stale before a stream began")
	errTunnel   = errors.New("proxy: not an error: the upgrade is completed outside of ReverseProxy")
)

// modifyResponse looks at the application's answer before it is passed on.
func modifyResponse(res *http.Response) error {
	x := exchangeOf(res.Request.Context())
	stripSetCookies(res.Header, x.g.o.Sessions.IsOurCookie)
	if x.p != nil {
		keepPrivate(res.Header)
	}
	switch {
	case res.StatusCode == http.StatusSwitchingProtocols:
		app, ok := res.Body.(io.ReadWriteCloser)
		if !ok || !x.webSocket || !strings.EqualFold(res.Header.Get("Upgrade"), "websocket") {
			return errUnasked // a tunnel only where one was asked for and decided about
		}
		if err := x.becomeStream(); err != nil {
			return err
		}
		x.res, x.app = res, app
		res.Body = http.NoBody // ReverseProxy closes it
		return errTunnel
	case isEventStream(res.Header):
		return x.becomeStream()
	}
	x.res = res
	return nil
}

// becomeStream re-checks at the moment a request turns into a stream (C10): a
// recheck that came earlier let it pass as a short request. It is marked first:
// a revocation is either seen here, or finds a stream.
func (x *exchange) becomeStream() error {
	if err := x.flight.becomeStream(); err != nil {
		return err
	}
	if x.p != nil && !x.g.o.Sessions.Still(x.p) {
		return errNotStill
	}
	return nil
}

func isEventStream(h http.Header) bool {
	ct, _, _ := strings.Cut(h.Get("Content-Type"), ";")
	return strings.EqualFold(strings.TrimSpace(ct), "text/event-stream")
}

// upstreamFailed answers for an application that could not.
func (g *Gate) upstreamFailed(w http.ResponseWriter, r *http.Request, err error) {
	if errors.Is(err, errTunnel) {
		return
	}
	x := exchangeOf(r.Context())
	if why := x.flight.cutCause(); why != nil {
		web.Annotate(r.Context(), "cut", why.reason)
		panic(http.ErrAbortHandler) // cut off: nothing is said any more
	}
	switch {
	case errors.Is(err, errNotStill), errors.Is(err, errDraining):
		g.refuse(x.ResponseWriter, r, x, Decision{Verdict: Unavailable, Rule: x.d.Rule, Reason: "stream_refused"}, x.p)
		return
	case x.body.broken():
		// The client's own body was malformed or ended early; the application
		// connection is already gone with it.
		g.malformedBody(x.ResponseWriter, r)
		return
	case r.Context().Err() != nil:
		panic(http.ErrAbortHandler) // the client has gone
	}
	fault := upstream.Classify(err)
	g.metrics.faults.WithLabelValues(x.rt.name, string(fault)).Inc()
	web.Annotate(r.Context(), "fault", string(fault))
	if g.denials.mayLog(string(fault)) {
		g.o.Log.LogAttrs(r.Context(), slog.LevelWarn, "application did not answer",
			slog.String("route", x.rt.name), slog.String("fault", string(fault)),
			slog.String("error", err.Error()), slog.String("request_id", web.RequestID(r.Context())))
	}
	g.applicationDown(x.ResponseWriter, r, x, fault)
}

// WriteHeader filters interim answers: ReverseProxy passes their headers on
// unseen. A 103 may hint at links and nothing else.
func (x *exchange) WriteHeader(code int) {
	if code >= 100 && code < 200 && code != http.StatusSwitchingProtocols {
		if code != http.StatusEarlyHints {
			return // 100 is net/http's to send, when it reads the body; 102 is deprecated
		}
		h := x.Header()
		for name := range h {
			if name != "Link" {
				delete(h, name)
			}
		}
	}
	x.ResponseWriter.WriteHeader(code)
}

// Unwrap is for http.ResponseController: flush and deadlines.
func (x *exchange) Unwrap() http.ResponseWriter { return x.ResponseWriter }

// stripTrailers removes from the response's trailers what no trailer may say
// (RFC 9110 section 6.5.1): cookies, and how to read or keep the answer. They are
// known only now, when the body has been read; the headers are out already.
func (x *exchange) stripTrailers() {
	if x.res == nil || len(x.res.Trailer) == 0 {
		return
	}
	h := x.Header()
	for name := range x.res.Trailer {
		switch http.CanonicalHeaderKey(name) {
		case "Set-Cookie", "Cache-Control", "Location", "Content-Type", "Strict-Transport-Security", "Clear-Site-Data":
			delete(h, name)
			delete(h, http.TrailerPrefix+name)
		}
	}
}

// clientBody remembers whether reading the client's body failed, to tell a
// broken client from a broken application. ReverseProxy reads it on another
// goroutine than the one that asks.
type clientBody struct {
	io.ReadCloser
	mu  sync.Mutex
	err error
}

func (b *clientBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, context.Canceled) {
		b.mu.Lock()
		b.err = err
		b.mu.Unlock()
	}
	return n, err
}

func (b *clientBody) broken() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err != nil
}

var (
	_ http.ResponseWriter = (*exchange)(nil)
	_ io.ReadCloser       = (*clientBody)(nil)
)
