package web

import (
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"runtime"
	"runtime/debug"
	"strings"
	"time"
)

// Options of [Handler]. The zero value trusts no proxy, logs nowhere and
// counts nothing.
type Options struct {
	// Trusted are the proxies whose X-Forwarded-For is believed.
	Trusted []netip.Prefix
	// Secure says that people reach this gateway by https, also when TLS ends at
	// a front and the request itself came by plain HTTP. Pages then send HSTS.
	Secure bool
	// Log receives one access record per request, and panics. nil discards.
	Log *slog.Logger
	// Access receives the access records instead of Log; nil leaves them there.
	Access *AccessLog
	// Now is the clock for durations; nil is time.Now.
	Now func() time.Time
	// Metrics counts; nil does not.
	Metrics *Metrics
	// Kind names what serves r in metrics: a few fixed words ("gateway", "app",
	// "scim"), never anything a client chooses, which would grow the series
	// without bound. nil is "other".
	Kind func(r *http.Request) string
}

type middleware struct {
	next http.Handler
	o    Options
}

// Handler wraps everything a listener serves. It gives each request a random
// id (a client's X-Request-Id is ignored: a log must not carry ids somebody
// else chose) and the client address (see Options.Trusted), turns a panic into
// a refusal, and writes exactly one access record when the request has ended,
// for a WebSocket or a stream when that has ended (see [Detach]).
//
// The record holds method, host, path, status, bytes, duration, address, id and
// what [Annotate] added. It never holds a query, cookie, other header or body
// (W5, L01), nor the part of a path that is a one-time token.
//
// The ResponseWriter passed on is an http.Flusher, http.Hijacker and
// io.ReaderFrom and unwraps for http.ResponseController.
func Handler(next http.Handler, o Options) http.Handler {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Kind == nil {
		o.Kind = func(*http.Request) string { return "other" }
	}
	o.Trusted = unmapPrefixes(o.Trusted)
	return &middleware{next: next, o: o}
}

func (m *middleware) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	start := m.o.Now()
	x := &exchange{m: m, id: newID(), addr: clientAddr(r, m.o.Trusted), secure: m.o.Secure || r.TLS != nil}
	x.notes = x.room[:0]
	r = r.WithContext(context.WithValue(r.Context(), exchangeKey{}, x))
	w := &response{ResponseWriter: rw}
	// Handlers may rewrite r.Method, r.Host or r.URL; the record is about what came.
	rec := record{method: r.Method, host: r.Host, path: logPath(r), kind: m.o.Kind(r)}
	m.o.Metrics.begin()
	defer func() {
		v := recover()
		again := m.recovered(w, r, v)
		rec.finish(w, again != nil)
		if x.detached() {
			m.endLater(x, rec, start)
		} else {
			m.end(r.Context(), x, rec, start)
		}
		if again != nil {
			panic(again)
		}
	}()
	m.next.ServeHTTP(w, r)
}

// end closes the books on a request: the gauge, the counters, the access record.
func (m *middleware) end(ctx context.Context, x *exchange, rec record, start time.Time) {
	now := m.o.Now()
	rec.took = now.Sub(start)
	m.o.Metrics.observe(rec)
	if m.o.Access != nil {
		m.o.Access.record(now, x, &rec)
		return
	}
	m.log(ctx, x, rec)
}

// recovered answers for a handler that panicked (fault 25). It returns
// http.ErrAbortHandler when the connection must be torn down: the client has
// already been given part of a response and must not take it for a whole one.
func (m *middleware) recovered(w *response, r *http.Request, v any) any {
	if v == nil {
		return nil
	}
	if v == http.ErrAbortHandler { //nolint:errorlint // the sentinel itself, as net/http compares it
		return v // somebody tore the response down on purpose; not a fault
	}
	m.panicked(r.Context(), RequestID(r.Context()), v)
	if w.hijacked {
		return nil // whoever hijacked owns the connection
	}
	if w.status != 0 {
		return http.ErrAbortHandler
	}
	w.Header().Set("Connection", "close")
	WritePage(w, r, Page{
		Status: http.StatusInternalServerError,
		Title:  "Something went wrong here",
		Lead:   "This is a fault in the gateway, not in anything you did. Please try again; if it stays, pass on the reference below.",
	})
	return nil
}

// panicked counts and logs a panic. Call it while the stack is still the panic's.
func (m *middleware) panicked(ctx context.Context, id string, v any) {
	m.o.Metrics.panicked()
	// The value of a panic is often the input that caused it, so only the
	// runtime's own words are logged; the stack says where (L01).
	what := slog.String("type", typeName(v))
	if re, ok := v.(runtime.Error); ok {
		what = slog.String("error", clean(re.Error(), maxNoteValue))
	}
	m.o.Log.LogAttrs(ctx, slog.LevelError, "panic", what,
		slog.String("request_id", id), slog.String("stack", string(debug.Stack())))
}

func (m *middleware) log(ctx context.Context, x *exchange, rec record) {
	attrs := make([]slog.Attr, 0, 12)
	attrs = append(attrs,
		slog.String("request_id", x.id),
		slog.String("method", clean(rec.method, 32)),
		slog.String("host", clean(rec.host, maxNoteValue)),
		slog.String("path", rec.path),
		slog.Int("status", rec.status),
		slog.Int64("bytes", rec.bytes),
		slog.Duration("duration", rec.took),
		slog.String("address", addrText(x.addr)),
	)
	if rec.aborted {
		attrs = append(attrs, slog.Bool("aborted", true))
	}
	x.mu.Lock()
	for _, n := range x.notes {
		attrs = append(attrs, slog.String(n.key, n.value))
	}
	x.mu.Unlock()
	m.o.Log.LogAttrs(ctx, slog.LevelInfo, "request", attrs...)
}

// record is the access record under construction.
type record struct {
	method, host, path, kind string
	status                   int
	bytes                    int64
	took                     time.Duration
	aborted, hijacked        bool
}

func (rec *record) finish(w *response, aborted bool) {
	rec.status, rec.bytes = w.status, w.bytes
	rec.aborted, rec.hijacked = aborted, w.hijacked
	if rec.status == 0 && !aborted {
		rec.status = http.StatusOK // net/http sends it when a handler writes nothing
	}
}

// logPath is the path as far as it may be written down: no query, at most 512
// bytes, and nothing after a segment whose neighbour is a one-time token
// (/invite/{token}, /setup/{token}), wherever it stands, so that no spelling of
// such a URL leaves a usable token in a log.
func logPath(r *http.Request) string {
	p := r.URL.Path
	for _, marker := range []string{"invite", "setup"} {
		rest := p
		for off := 0; ; {
			seg, after, more := strings.Cut(rest, "/")
			if !more {
				break
			}
			off += len(seg) + 1
			if strings.EqualFold(seg, marker) {
				p = p[:off] + "*"
				break
			}
			rest = after
		}
	}
	return clean(p, 512)
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

func typeName(v any) string {
	switch v.(type) {
	case error:
		return "error"
	case string:
		return "string"
	default:
		return "other"
	}
}
