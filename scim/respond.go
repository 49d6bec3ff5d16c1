package scim

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

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
	// stream writes the body in place of body, after the headers. An error breaks
	// the answer off, so that nobody takes half of it for the whole.
	stream func(io.Writer) error
}

func itoa(n int) string { return strconv.Itoa(n) }

// etag is a weak entity tag: the answer also holds derived parts (groups, the
// names of members), which the version does not cover.
func etag(version int64) string { return `W/"` + strconv.FormatInt(version, 10) + `"` }

// write is the one place where answers and errors become bytes.
func (h *Handler) write(w http.ResponseWriter, c *call, rep reply, err error) (status, sent int) {
	if err != nil {
		return h.writeFault(w, c, faultOf(err))
	}
	if c.notModified(rep) {
		rep.status, rep.body, rep.stream = http.StatusNotModified, nil, nil
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
	if rep.location != "" && (rep.body != nil || rep.stream != nil) {
		// RFC 7643 section 3.1: meta.location equals Content-Location.
		head.Set("Content-Location", rep.location)
	}
	if rep.etag != "" {
		head.Set("ETag", rep.etag)
	}
	if rep.stream != nil {
		return rep.status, h.sendStream(w, c, rep)
	}
	c.answered = rep.body
	h.send(w, c, rep.status, buf.Bytes())
	return rep.status, buf.Len()
}

func (h *Handler) writeFault(w http.ResponseWriter, c *call, f *fault) (status, sent int) {
	c.fault = f
	h.logFault(c, f)
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
	buf, err := json.Marshal(f.body())
	if err != nil { // unreachable: strings only
		buf = nil
	}
	h.send(w, c, f.Status, buf)
	return f.Status, len(buf)
}

func (h *Handler) logFault(c *call, f *fault) {
	if f.Err != nil {
		h.o.Log.ErrorContext(c.ctx, "scim request failed",
			"status", f.Status, "err", f.Err, "request_id", web.RequestID(c.ctx), "connection", c.conn.ID)
	}
}

// sendStream answers how many bytes went out. A body that cannot be completed
// ends the connection: chunked encoding without its end, which every client notices.
func (h *Handler) sendStream(w http.ResponseWriter, c *call, rep reply) (sent int) {
	out := &countingWriter{w: w}
	h.headers(w)
	w.Header().Set("Content-Type", client.Accept(c.r.Header.Values("Accept")))
	w.WriteHeader(rep.status)
	// A client that does not read must not hold the request for ever. The
	// connection is used again, by requests without such a limit.
	conn := http.NewResponseController(w)
	_ = conn.SetWriteDeadline(time.Now().Add(2 * HandlingTime)) // not every writer has one (tests)
	defer func() { _ = conn.SetWriteDeadline(time.Time{}) }()
	if err := rep.stream(out); err != nil {
		h.logFault(c, &fault{Status: rep.status, Err: fmt.Errorf("scim: answer broken off after %d bytes: %w", out.n, err)})
		panic(http.ErrAbortHandler)
	}
	return out.n
}

type countingWriter struct {
	w io.Writer
	n int
}

func (c *countingWriter) Write(b []byte) (int, error) {
	n, err := c.w.Write(b)
	c.n += n
	return n, err
}

func (h *Handler) headers(w http.ResponseWriter) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("X-Content-Type-Options", "nosniff")
}

func (h *Handler) send(w http.ResponseWriter, c *call, status int, body []byte) {
	head := w.Header()
	h.headers(w)
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

// tags reads a precondition: "*", or the versions it lists, 0 for a tag that is
// not one of ours.
func tags(values []string) (versions []int64, star bool) {
	for tag := range strings.SplitSeq(strings.Join(values, ","), ",") {
		tag = strings.TrimSpace(tag)
		if tag == "*" {
			return nil, true
		}
		text, ok := strings.CutPrefix(opaque(tag), `"`)
		text, ok2 := strings.CutSuffix(text, `"`)
		n, err := strconv.ParseInt(text, 10, 64)
		if !ok || !ok2 || err != nil || n <= 0 || strconv.FormatInt(n, 10) != text {
			n = 0 // it can match nothing
		}
		versions = append(versions, n)
	}
	return versions, false
}

// ifVersion reads If-Match and If-None-Match of a change (RFC 9110 section 13.1):
// 0 = any version. The comparison itself happens inside the transaction that
// writes, so two writers with one tag give one winner (C08). now reads the
// version there is at the moment, where only that can choose among several tags;
// should it change until then, the transaction finds out.
func (c *call) ifVersion(now func() (int64, error)) (int64, error) {
	match, none := c.r.Header.Values("If-Match"), c.r.Header.Values("If-None-Match")
	want, star := tags(match)
	if len(match) == 0 || star {
		want = nil // "exists", which every change checks
	}
	if len(none) == 0 && len(want) <= 1 {
		if len(want) == 1 && want[0] == 0 {
			return 0, stale("If-Match names no version of this resource")
		}
		return append(want, 0)[0], nil
	}
	have, err := now()
	if err != nil {
		return 0, err
	}
	if want != nil && !slices.Contains(want, have) {
		return 0, stale("If-Match names no version of this resource")
	}
	if len(none) > 0 {
		if not, star := tags(none); star || slices.Contains(not, have) {
			return 0, stale("If-None-Match names the version of this resource")
		}
	}
	return have, nil
}

func stale(detail string) error {
	return &fault{Status: http.StatusPreconditionFailed, Detail: detail}
}

// userVersion and groupVersion read what a precondition is compared with.
func (c *call) userVersion() (int64, error) {
	m, _, err := c.h.o.Members.Get(c.ctx, c.conn.Connection, c.id)
	return m.Version, err
}

func (c *call) groupVersion() (int64, error) {
	t, err := c.h.o.Teams.GetTeam(c.ctx, c.conn.Connection, c.id)
	return t.Version, err
}

// body reads and decodes the request body under the limits of C06.
func (c *call) body() (map[string]any, error) {
	if c.inBulk {
		c.parsed = c.given
		return c.given, nil
	}
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
	c.size = len(raw)
	m, err := client.Decode(raw)
	if err == nil {
		c.parsed = m
	}
	return m, err
}
