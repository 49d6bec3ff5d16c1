package h1

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http/httpguts"
)

// frame decides where the body ends and whether the connection can be kept
// (RFC 9112 section 6.3).
func (x *exchange) frame(h *head) error {
	res := &x.res
	length, err := h.contentLength()
	if err != nil {
		return err
	}
	chunked, err := h.chunked()
	if err != nil {
		return err
	}
	if chunked {
		x.coding[0] = "chunked"
		res.TransferEncoding = x.coding[:]
		if res.Trailer, err = h.announcedTrailers(); err != nil {
			return err
		}
	}
	h.fixPragma()
	x.c.announce(h)
	if res.Close = h.closes(); res.Close || x.wantsClose() {
		x.drop = dropAsked
	}
	b := &x.body
	switch {
	case x.req.Method == http.MethodHead:
		b.kind, res.ContentLength = noBody, length
	case h.code == http.StatusNoContent, h.code == http.StatusNotModified:
		b.kind, res.ContentLength = noBody, 0
		// A 204 has no framing. Where it has one, a body may follow that nobody waits for.
		if h.code == http.StatusNoContent && (chunked || length > 0) {
			x.drop = dropBadNoBody
		}
	case chunked:
		b.kind, res.ContentLength = chunkedBody, -1
	case length == 0:
		b.kind, res.ContentLength = noBody, 0
	case length > 0:
		b.kind, b.left, res.ContentLength = lengthBody, length, length
	default:
		b.kind, res.ContentLength = untilClose, -1
		res.Close = true
		x.drop = dropEndByClose
	}
	return nil
}

func (x *exchange) wantsClose() bool {
	if x.req.Close {
		return true
	}
	c := x.req.Header["Connection"]
	return len(c) > 0 && httpguts.HeaderValuesContainsToken(c, "close")
}

// contentLength is -1 without one. Several that say the same are one (RFC 9112
// section 6.3); a list in one field is refused.
func (h *head) contentLength() (int64, error) {
	if h.has&hasLength == 0 {
		return -1, nil
	}
	all := h.header["Content-Length"]
	for _, v := range all[1:] {
		if v != all[0] {
			return 0, errLengths
		}
	}
	if len(all) > 1 { // storing costs: a map of eight grows even when a key is there
		h.header["Content-Length"] = all[:1]
	}
	s := all[0]
	if s == "" {
		return 0, errLength
	}
	for i := range len(s) {
		if s[i] < '0' || s[i] > '9' {
			return 0, errLength
		}
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil {
		return 0, errLength
	}
	return n, nil
}

// chunked reports the one transfer coding that is understood. Everything else in
// or around it has two readings somewhere, and is refused.
func (h *head) chunked() (bool, error) {
	if h.has&hasCoding == 0 {
		return false, nil
	}
	all := h.header["Transfer-Encoding"]
	delete(h.header, "Transfer-Encoding")
	switch {
	case h.minor == 0:
		return false, errCodingOld // RFC 9112 section 6.1: its framing is faulty
	case h.has&hasLength != 0:
		return false, errTwoFramings // section 6.3: ought to be handled as an error
	case len(all) != 1 || !strings.EqualFold(all[0], "chunked"):
		return false, errCoding
	}
	return true, nil
}

func (h *head) closes() bool {
	if h.has&hasConnection == 0 {
		return h.minor == 0
	}
	c := h.header["Connection"]
	return httpguts.HeaderValuesContainsToken(c, "close") ||
		h.minor == 0 && !httpguts.HeaderValuesContainsToken(c, "keep-alive")
}

// announcedTrailers makes the map that the trailers will be put into, with the
// names that are known.
func (h *head) announcedTrailers() (http.Header, error) {
	if h.has&hasTrailer == 0 {
		return nil, nil
	}
	var out http.Header
	for _, v := range h.header["Trailer"] {
		for name := range strings.SplitSeq(v, ",") {
			if name = http.CanonicalHeaderKey(trim(name)); name == "" {
				continue
			}
			switch name {
			case "Transfer-Encoding", "Trailer", "Content-Length":
				return nil, errTrailerName
			}
			if out == nil {
				out = http.Header{}
			}
			out[name] = nil
		}
	}
	delete(h.header, "Trailer")
	return out, nil
}

// fixPragma does what http.ReadResponse does: a cache between us and the client
// may know only the newer field (RFC 9111 section 5.4).
func (h *head) fixPragma() {
	if h.has&hasPragma == 0 {
		return
	}
	if p := h.header["Pragma"]; p[0] == "no-cache" && h.header["Cache-Control"] == nil {
		h.header["Cache-Control"] = []string{"no-cache"}
	}
}

// announce remembers how long the application keeps an idle connection (Node
// says timeout=5). A request that meets the end of it fails, or must be retried,
// so we are a second ahead, or half of the time.
func (c *conn) announce(h *head) {
	if h.has&hasKeepAlive == 0 {
		return
	}
	for part := range strings.SplitSeq(h.header["Keep-Alive"][0], ",") {
		name, value, _ := strings.Cut(trim(part), "=")
		if !strings.EqualFold(name, "timeout") {
			continue
		}
		if n, err := strconv.ParseUint(value, 10, 16); err == nil && n > 0 {
			d := time.Duration(n) * time.Second
			c.announced = d - min(d/2, time.Second)
		}
	}
}
