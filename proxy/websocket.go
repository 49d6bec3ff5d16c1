package proxy

import (
	"net/http"
	"slices"
	"strings"
)

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

// mayOpen reports whether a WebSocket may be opened by the page that asks.
func (x *exchange) mayOpen(r *http.Request) bool {
	if sameOrigin(r, x.st) {
		return true
	}
	o := r.Header["Origin"]
	return len(o) == 1 && slices.Contains(x.rt.wsOrigins, o[0])
}

// early decides what can be decided before anybody is asked who they are.
func (x *exchange) early() Decision {
	if x.webSocket && x.rt.noWS {
		return Decision{Verdict: Deny, Rule: x.rt.name + ": no websockets", Reason: "no_websockets"}
	}
	var d Decision
	d, x.ruling = x.rt.before(x.q, x.facts())
	return d
}
