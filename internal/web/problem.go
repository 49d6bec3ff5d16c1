package web

import (
	"encoding/json"
	"net/http"
	"strconv"
)

// problem is RFC 9457 with our reference as an extension member.
type problem struct {
	Type      string `json:"type"`
	Title     string `json:"title"`
	Status    int    `json:"status"`
	Detail    string `json:"detail,omitempty"`
	Reference string `json:"reference,omitempty"`
}

// WriteProblem answers a script or API client: application/problem+json
// (RFC 9457) with the request id as "reference". A status that is not an error
// becomes 500: a refusal must never look like success. Headers such as
// Retry-After or WWW-Authenticate are set by the caller beforehand.
func WriteProblem(w http.ResponseWriter, r *http.Request, status int, title, detail string) {
	if status < 400 || status > 599 {
		status = http.StatusInternalServerError
	}
	body, err := json.Marshal(problem{
		Type: "about:blank", Title: clean(title, maxTitle), Status: status,
		Detail: clean(detail, maxText), Reference: RequestID(r.Context()),
	})
	if err != nil { // strings and an int cannot fail; an empty refusal is still one
		body = nil
	}
	h := w.Header()
	secureHeaders(h, r)
	h.Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Length", strconv.Itoa(len(body)))
	w.WriteHeader(status)
	if r.Method != http.MethodHead {
		_, _ = w.Write(body) // the client is gone if this fails; the record says so
	}
}
