package proxy

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/textproto"
	"net/url"
	"strings"
	"sync"

	"github.com/ssogate/ssogate/proxy/upstream"
)

// send is the exchange with the application: httputil.ReverseProxy's part, written
// for one purpose. It copies each header once, keeps the request in memory that the
// exchange has anyway, and says in one place what happens when. What it must hold
// is listed in shared/protocols.md section 4 and tested beside it.
//
// The answers: nil when a response has been sent whole, or an upgrade stands in
// x.app; an error before anything was sent, for upstreamFailed to answer; a panic
// with http.ErrAbortHandler when a response broke in the middle (fault 14).
func (x *exchange) send(r *http.Request) error {
	out := x.outbound(r)
	defer x.interim.stop()
	res, err := x.rt.pool.Do(out, &x.flight.lease, x.body.untouched)
	// From here on the transport may call no more interim hooks that write.
	x.interim.stop()
	if err != nil {
		return err
	}
	if err := x.received(res); err != nil {
		_ = res.Body.Close()
		return err
	}
	if x.app != nil {
		return nil
	}
	if x.signsOut(r, res.StatusCode) {
		if err := x.signOut(r, res); err != nil {
			_ = res.Body.Close()
			return err
		}
		defer x.farewell.Stop()
	}
	x.relayResponse(r, res)
	return nil
}

// outbound makes the request for the application, in place. Everything hop-by-hop is
// gone before anything of ours is set, also what Connection names: the client cannot
// take it away again (row H02).
func (x *exchange) outbound(r *http.Request) *http.Request {
	x.out = *r
	out := &x.out
	// Opaque goes into the request line as it is: re-encoding a parsed path, or
	// cleaning the query, would forward something else than what was decided about (G3).
	x.url = url.URL{Opaque: x.path, RawQuery: x.q.Query, ForceQuery: x.q.Asked}
	out.URL, out.RequestURI, out.Close = &x.url, "", false
	out.Proto, out.ProtoMajor, out.ProtoMinor = "HTTP/1.1", 1, 1
	if out.Host = x.rt.host; x.rt.keepHost {
		out.Host = x.st.host
	}
	if r.ContentLength == 0 {
		out.Body = nil // nothing to send, and nothing that keeps a retry from being safe
	}
	// Request trailers would arrive after we looked at the headers; nobody we
	// know needs them in this direction.
	out.Trailer, out.TransferEncoding = nil, nil
	out.Header = x.outHeader(r.Header)
	return out
}

// outHeader makes of the client's header what the application may see, and adds ours. It
// works in place: nobody needs the rest any more, and a map for each request is dear.
func (x *exchange) outHeader(h http.Header) http.Header {
	named, trailers := h["Connection"], hasToken(h["Te"], "trailers")
	for name := range h {
		if hopByHop(name) || x.rt.removes(name) || len(named) > 0 && hasToken(named, name) {
			delete(h, name)
		}
	}
	if trailers {
		h["Te"] = teTrailers // gRPC asks for it; any other transfer coding is ours to choose
	}
	if x.webSocket {
		h["Connection"], h["Upgrade"] = connectionUpgrade, upgradeWebSocket
	}
	if _, ok := h["User-Agent"]; !ok {
		h["User-Agent"] = noUserAgent // otherwise net/http writes its own name
	}
	x.setCookies(h)
	x.setAuthorization(h)
	setClientFacts(h, x.st, x.client)
	x.setIdentity(h)
	return h
}

// Values that every request shares. They are never appended to.
var (
	teTrailers        = []string{"trailers"}
	connectionUpgrade = []string{"Upgrade"}
	upgradeWebSocket  = []string{"websocket"}
	noUserAgent       = []string{""}
)

// hopByHop names the fields that are about one connection (RFC 9110 section 7.6.1 and
// its forerunner), in canonical form.
func hopByHop(name string) bool {
	switch name {
	case "Connection", "Keep-Alive", "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization",
		"Te", "Trailer", "Transfer-Encoding", "Upgrade":
		return true
	}
	return false
}

// hasToken reports whether a list of values names a token.
func hasToken(values []string, token string) bool {
	for _, v := range values {
		for t := range strings.SplitSeq(v, ",") {
			if strings.EqualFold(strings.TrimSpace(t), token) {
				return true
			}
		}
	}
	return false
}

// removeHopByHop removes them from a response's header.
func removeHopByHop(h http.Header) {
	for _, v := range h["Connection"] {
		for token := range strings.SplitSeq(v, ",") {
			if token = textproto.TrimString(token); token != "" {
				h.Del(token)
			}
		}
	}
	for name := range h {
		if hopByHop(name) {
			delete(h, name)
		}
	}
}

// interim passes 103 on while the transport waits for the final answer. A transport
// may call it on a goroutine of its own, also late: after stop it writes nothing.
type interim struct {
	x    *exchange
	mu   sync.Mutex
	over bool
	n    int
}

// maxInterim bounds the interim answers of one exchange: some are usual, a thousand
// are an application gone wrong.
const maxInterim = 32

var errInterim = errors.New("proxy: too many interim responses")

func (i *interim) got(code int, h textproto.MIMEHeader) error {
	i.mu.Lock()
	defer i.mu.Unlock()
	if i.n++; i.n > maxInterim {
		return errInterim
	}
	// 100 is net/http's to send, when it reads the body; 102 is deprecated. A 103 may
	// hint at links and nothing else: its other fields would have passed unseen.
	links := h["Link"]
	if i.over || code != http.StatusEarlyHints || len(links) == 0 {
		return nil
	}
	wh := i.x.Header()
	wh["Link"] = links
	i.x.ResponseWriter.WriteHeader(http.StatusEarlyHints)
	delete(wh, "Link") // the final answer has its own
	return nil
}

func (i *interim) stop() {
	i.mu.Lock()
	i.over = true
	i.mu.Unlock()
}

// relayResponse sends the application's answer to the client.
func (x *exchange) relayResponse(r *http.Request, res *http.Response) {
	h := x.Header()
	for name, v := range res.Header {
		h[name] = v
	}
	if _, typed := h["Content-Type"]; !typed {
		h["Content-Type"] = nil // net/http would look at the body and guess
	}
	announced := len(res.Trailer)
	if announced > 0 {
		names := make([]string, 0, announced)
		for name := range res.Trailer {
			if !x.rt.withholds(name) {
				names = append(names, name)
			}
		}
		h["Trailer"] = names
	}
	x.ResponseWriter.WriteHeader(res.StatusCode)
	err := x.copyBody(res)
	_ = res.Body.Close()
	if err != nil {
		x.broken(r.Context(), err)
		panic(http.ErrAbortHandler) // an aborted transfer, never a clean end
	}
	if len(res.Trailer) > 0 {
		// Without a flush net/http may have sized the answer, and dropped the trailers.
		_ = http.NewResponseController(x.ResponseWriter).Flush()
	}
	for name, v := range res.Trailer {
		if x.rt.withholds(name) {
			continue
		}
		if len(res.Trailer) != announced {
			name = http.TrailerPrefix + name
		}
		h[name] = v
	}
}

// forbiddenTrailer names what no trailer may say (RFC 9110 section 6.5.1): cookies,
// how to read or keep the answer, and how it is framed.
func forbiddenTrailer(name string) bool {
	switch http.CanonicalHeaderKey(name) {
	case "Set-Cookie", "Cache-Control", "Location", "Content-Type", "Content-Length", "Content-Encoding", "Content-Range",
		"Strict-Transport-Security", "Clear-Site-Data", "Content-Security-Policy":
		return true
	}
	return hopByHop(http.CanonicalHeaderKey(name))
}

// copyBody streams the answer. What has no length, or is an event stream, is sent on
// as it comes: somebody may be waiting for each piece.
func (x *exchange) copyBody(res *http.Response) error {
	if res.Body == nil || res.Body == http.NoBody {
		return nil
	}
	buf := buffers.Get()
	defer buffers.Put(buf)
	var flush *http.ResponseController
	if res.ContentLength < 0 || isEventStream(res.Header) {
		flush = http.NewResponseController(x.ResponseWriter)
		if err := flush.Flush(); err != nil { // the header: the first piece may be long in coming
			return err
		}
	}
	for {
		n, err := res.Body.Read(buf)
		if n > 0 {
			if _, werr := x.ResponseWriter.Write(buf[:n]); werr != nil {
				return werr
			}
			if flush != nil {
				if ferr := flush.Flush(); ferr != nil {
					return ferr
				}
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
	}
}

// buffers of 32 KiB for bodies on their way to clients.
var buffers upstream.Buffers

// broken logs an answer that broke in the middle, once. What we cut off ourselves is
// no fault of the application: the access record of that request says why. Nor is a
// client that went away.
func (x *exchange) broken(ctx context.Context, err error) {
	if x.flight.cutCause() != nil || ctx.Err() != nil {
		return
	}
	x.g.faulty(ctx, x.rt, "answer broke off", upstream.Broken, err)
}
