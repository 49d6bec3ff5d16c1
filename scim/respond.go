package scim

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"strconv"
	"strings"

	"github.com/ssogate/ssogate/internal/web"
	"github.com/ssogate/ssogate/scim/client"
)

// reply is a successful answer. The body is written only after the handler
// has returned, so a panic or error can still become a proper answer.
type reply struct {
	status   int
	body     any    // nil = none
	location string // also meta.location of the body
	etag     string
}

func itoa(n int) string { return strconv.Itoa(n) }

// etag is a weak entity tag: the answer also holds derived parts (groups, the
// names of members), which the version does not cover.
func etag(version int64) string { return `W/"` + strconv.FormatInt(version, 10) + `"` }

// write is the one place where answers and errors become bytes.
func (h *Handler) write(w http.ResponseWriter, c *call, rep reply, err error) int {
	if err != nil {
		return h.writeFault(w, c, faultOf(err))
	}
	if c.notModified(rep) {
		rep.status, rep.body = http.StatusNotModified, nil
	}
	var buf bytes.Buffer
	if rep.body != nil {
		if err := json.NewEncoder(&buf).Encode(rep.body); err != nil {
			return h.writeFault(w, c, &fault{Status: http.StatusInternalServerError, Detail: "internal error", Err: err})
		}
	}
	head := w.Header()
	if rep.status == http.StatusCreated {
		head.Set("Location", rep.location) // often forgotten, and awaited by clients
	}
	if rep.location != "" && rep.body != nil {
		// RFC 7643 section 3.1: meta.location equals Content-Location.
		head.Set("Content-Location", rep.location)
	}
	if rep.etag != "" {
		head.Set("ETag", rep.etag)
	}
	h.send(w, c, rep.status, buf.Bytes())
	return rep.status
}

func (h *Handler) writeFault(w http.ResponseWriter, c *call, f *fault) int {
	if f.Err != nil {
		h.o.Log.ErrorContext(c.ctx, "scim request failed",
			"status", f.Status, "err", f.Err, "request_id", web.RequestID(c.ctx), "connection", c.conn.ID)
	}
	head := w.Header()
	if f.Status == http.StatusUnauthorized {
		head.Set("WWW-Authenticate", `Bearer realm="scim"`)
	}
	if f.RetryAfter > 0 {
		head.Set("Retry-After", itoa(f.RetryAfter))
	}
	if f.Allow != "" {
		head.Set("Allow", f.Allow)
	}
	body := map[string]any{
		"schemas": []string{ErrorURN},
		"status":  itoa(f.Status), // a JSON string (section 3.12)
		"detail":  f.Detail,
	}
	if f.Type != "" {
		body["scimType"] = f.Type
	}
	buf, err := json.Marshal(body)
	if err != nil { // unreachable: strings only
		buf = nil
	}
	h.send(w, c, f.Status, buf)
	return f.Status
}

func (h *Handler) send(w http.ResponseWriter, c *call, status int, body []byte) {
	head := w.Header()
	head.Set("Cache-Control", "no-store")
	head.Set("X-Content-Type-Options", "nosniff")
	if len(body) > 0 {
		head.Set("Content-Type", client.Accept(c.r.Header.Values("Accept")))
		head.Set("Content-Length", itoa(len(body)))
	}
	w.WriteHeader(status)
	_, _ = w.Write(body) // the client has gone; the change stands
}

// notModified is If-None-Match on GET (RFC 9110 section 13.1.2), weakly compared.
func (c *call) notModified(rep reply) bool {
	if c.r.Method != http.MethodGet || rep.etag == "" || rep.status != http.StatusOK {
		return false
	}
	for _, v := range c.r.Header.Values("If-None-Match") {
		for tag := range strings.SplitSeq(v, ",") {
			if tag = strings.TrimSpace(tag); tag == "*" || opaque(tag) == opaque(rep.etag) {
				return true
			}
		}
	}
	return false
}

func opaque(tag string) string { return strings.TrimPrefix(tag, "W/") }

// ifVersion reads If-Match for a change: 0 = any version. The comparison itself
// happens inside the transaction that writes, so two writers with one tag give
// one winner (C08). A tag that is not one of ours can match nothing.
func (c *call) ifVersion() (int64, error) {
	values := c.r.Header.Values("If-Match")
	if len(values) == 0 {
		return 0, nil
	}
	tag := strings.TrimSpace(strings.Join(values, ","))
	if tag == "*" {
		return 0, nil // "exists", which every change checks
	}
	stale := &fault{Status: http.StatusPreconditionFailed, Detail: "If-Match names no version of this resource"}
	text, ok := strings.CutPrefix(opaque(tag), `"`)
	text, ok2 := strings.CutSuffix(text, `"`)
	n, err := strconv.ParseInt(text, 10, 64)
	if !ok || !ok2 || err != nil || n <= 0 {
		return 0, stale
	}
	return n, nil
}

// body reads and decodes the request body under the limits of C06.
func (c *call) body() (map[string]any, error) {
	if !client.ContentType(c.r.Header.Get("Content-Type")) {
		return nil, &fault{Status: http.StatusUnsupportedMediaType, Detail: "the body must be application/scim+json"}
	}
	tooLarge := &fault{
		Status: http.StatusRequestEntityTooLarge,
		Detail: "the body is larger than the limit of " + itoa(MaxBody) + " bytes (16 MiB)",
	}
	if c.r.ContentLength > MaxBody {
		return nil, tooLarge
	}
	raw, err := io.ReadAll(io.LimitReader(c.r.Body, MaxBody+1))
	var smaller *http.MaxBytesError // a smaller limit of the server around us
	switch {
	case errors.As(err, &smaller) || len(raw) > MaxBody:
		return nil, tooLarge
	case err != nil:
		return nil, badRequest("invalidSyntax", "the body could not be read")
	}
	return client.Decode(raw)
}
