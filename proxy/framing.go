package proxy

import (
	"net/http"
	"strconv"
	"strings"

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

// webSocket reports whether r is a WebSocket handshake (RFC 6455 section 4.1).
// ok is false when it asks for any other upgrade: h2c would be a tunnel through
// the gate for whole connections, and a list of protocols lets the application
// choose (row P10).
func webSocket(r *http.Request) (ws, ok bool) {
	up := r.Header["Upgrade"]
	if len(up) == 0 || len(up) == 1 && up[0] == "" {
		return false, true // "Connection: upgrade" alone is a common proxy's habit
	}
	ws = len(up) == 1 && strings.EqualFold(up[0], "websocket") &&
		r.Method == http.MethodGet && r.ProtoAtLeast(1, 1) && r.ProtoMajor == 1 &&
		r.ContentLength == 0 && len(r.TransferEncoding) == 0 &&
		hasToken(r.Header["Connection"], "upgrade") &&
		len(r.Header["Sec-Websocket-Key"]) == 1 &&
		len(r.Header["Sec-Websocket-Version"]) == 1
	return ws, ws
}

// sameOrigin is true only for exactly one Origin that is the app's own. A
// program without a browser sends none; it has no business with a browser's cookie.
func sameOrigin(r *http.Request, st *site) bool {
	o := r.Header["Origin"]
	return len(o) == 1 && o[0] == st.origin
}

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

func headerLines(h http.Header) int {
	n := 0
	for _, v := range h {
		n += len(v)
	}
	return n
}
