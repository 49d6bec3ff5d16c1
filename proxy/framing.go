package proxy

import (
	"net/http"
	"strconv"

	"github.com/ssogate/ssogate/proxy/canonical"
	"github.com/ssogate/ssogate/proxy/wire"
)

// misframed is what proxy/wire does for HTTP/1, for the fields of HTTP/2 that would
// become framing where the request is sent on as HTTP/1, or that name a second host
// (rows T01, T03, T04). RFC 9113 sections 8.1.1 and 8.3.1 call these malformed; net/http
// lets them pass.
func misframed(r *http.Request) *canonical.Refusal {
	if r.ProtoMajor < 2 {
		return nil
	}
	if v := r.Header["Content-Length"]; len(v) > 1 || len(v) == 1 && v[0] != strconv.FormatInt(r.ContentLength, 10) {
		return &canonical.Refusal{Status: http.StatusBadRequest, Reason: "content_length"}
	}
	if v := r.Header["Host"]; len(v) > 1 || len(v) == 1 && v[0] != r.Host {
		return &canonical.Refusal{Status: http.StatusBadRequest, Reason: "host_twice"}
	}
	for name := range r.Header {
		if wire.FramingAlias(name) {
			return &canonical.Refusal{Status: http.StatusBadRequest, Reason: "framing_alias"}
		}
	}
	return nil
}

func headerLines(h http.Header) int {
	n := 0
	for _, v := range h {
		n += len(v)
	}
	return n
}
