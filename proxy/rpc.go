package proxy

import (
	"net/http"
	"strconv"
	"strings"

	"github.com/ssogate/ssogate/internal/web"
)

// problem answers a program: problem+json, or for gRPC a status of that protocol. A
// gRPC client that finds neither says "unknown" and nothing else.
func (g *Gate) problem(w http.ResponseWriter, r *http.Request, status int, title, detail string) {
	kind := rpcType(r)
	if kind == "" {
		web.WriteProblem(w, r, status, title, detail)
		return
	}
	h := w.Header()
	h.Set("Content-Type", kind)
	h.Set("Grpc-Status", strconv.Itoa(rpcStatus(status)))
	h.Set("Grpc-Message", rpcMessage(title+" ("+web.RequestID(r.Context())+"): "+detail))
	h.Set("Cache-Control", "no-store")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Length", "0")
	// Not 200, as a gRPC server would: proxies and logs on the way should see a refusal,
	// and clients read the fields of a Trailers-Only answer whatever the status is.
	w.WriteHeader(status)
}

// rpcType is the Content-Type of an answer to gRPC or gRPC-Web, or "" for all others.
func rpcType(r *http.Request) string {
	kind, _, _ := strings.Cut(r.Header.Get("Content-Type"), ";")
	kind = strings.ToLower(strings.TrimSpace(kind))
	base, _, _ := strings.Cut(kind, "+")
	switch base {
	case "application/grpc", "application/grpc-web", "application/grpc-web-text":
		return kind
	}
	return ""
}

// rpcStatus is what the gRPC project's table of HTTP statuses says for those we send.
func rpcStatus(status int) int {
	const (
		internal, permissionDenied, unimplemented, unavailable, resourceExhausted, unauthenticated, deadline = 13, 7, 12, 14, 8, 16, 4
	)
	switch status {
	case http.StatusUnauthorized:
		return unauthenticated
	case http.StatusForbidden:
		return permissionDenied
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusMisdirectedRequest:
		return unimplemented
	case http.StatusRequestEntityTooLarge:
		return resourceExhausted
	case http.StatusGatewayTimeout:
		return deadline
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable:
		return unavailable
	}
	return internal
}

// rpcMessage is percent-encoded, as gRPC over HTTP/2 has it.
func rpcMessage(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		if c < ' ' || c > '~' || c == '%' {
			b.WriteByte('%')
			b.WriteByte("0123456789ABCDEF"[c>>4])
			b.WriteByte("0123456789ABCDEF"[c&15])
			continue
		}
		b.WriteByte(c)
	}
	return b.String()
}
