package h1

import (
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
)

// maxInterims bounds the 1xx responses before a final one. More than a few have
// no use (RFC 9110 section 15.2), and each is passed on.
const maxInterims = 32

// interim deals with a 1xx response other than 101.
func (x *exchange) interim(h *head) error {
	// Framing has no meaning here. Where it is present the sides may disagree
	// about what follows, so the connection carries nothing more.
	if _, err := h.contentLength(); err != nil {
		return err
	}
	if h.has&(hasLength|hasCoding) != 0 {
		x.drop = dropBadNoBody
	}
	if h.code == http.StatusContinue && x.up != nil {
		x.up.answered(true)
	}
	if i, ok := x.req.Context().(Interims); ok {
		dropHopByHop(h.header)
		return i.Got1xx(h.code, textproto.MIMEHeader(h.header))
	}
	// Only now: looking through a context costs, and interim responses are rare.
	trace := httptrace.ContextClientTrace(x.req.Context())
	if trace == nil {
		return nil
	}
	if h.code == http.StatusContinue && trace.Got100Continue != nil {
		trace.Got100Continue()
	}
	if trace.Got1xxResponse == nil {
		return nil
	}
	dropHopByHop(h.header)
	return trace.Got1xxResponse(h.code, textproto.MIMEHeader(h.header))
}

// dropHopByHop removes what is meant for us alone (RFC 9110 section 7.6.1):
// httputil.ReverseProxy does it for final responses only.
func dropHopByHop(h http.Header) {
	for _, v := range h["Connection"] {
		for name := range strings.SplitSeq(v, ",") {
			if name = trim(name); name != "" {
				h.Del(name)
			}
		}
	}
	for _, name := range []string{
		"Connection", "Proxy-Connection", "Keep-Alive", "Proxy-Authenticate", "Te",
		"Trailer", "Transfer-Encoding", "Upgrade", "Content-Length",
	} {
		delete(h, name)
	}
}
