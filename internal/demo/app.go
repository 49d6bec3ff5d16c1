package demo

import (
	"context"
	"embed"
	"encoding/json"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/coder/websocket"
)

//go:embed assets
var assets embed.FS

// policy lets the demo's pages load their own files and talk to their own
// origin, nothing else. A header value shown as text can then do no harm even
// if escaping failed.
const policy = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"

// identityHeaders are what an application behind the gateway reads, in the
// order the page shows them.
func identityHeaders() []string {
	return []string{
		"X-Forwarded-User", "X-Forwarded-Preferred-Username", "X-Forwarded-Name",
		"X-Forwarded-Email", "X-Forwarded-Groups",
	}
}

// pace is how fast the application's streams move.
type pace struct {
	tick   time.Duration // between two ticks of the WebSocket and the event stream
	chunks int           // of the download
	chunk  int           // bytes of each
	every  time.Duration // between two chunks
}

type app struct {
	page *template.Template
	pace pace
}

// App is the sample application: a lantern that burns while its WebSocket is
// open, an event stream, a slow download, and the identity headers it was given.
// It has no sign-in of its own and believes its headers, as legacy applications
// do, so it belongs on a loopback address behind the gateway. Every stream ends
// with its request's context or the first failed write.
func App() http.Handler {
	return newApp(pace{tick: time.Second, chunks: 240, chunk: 64 << 10, every: 250 * time.Millisecond})
}

func newApp(p pace) http.Handler {
	a := &app{page: template.Must(template.ParseFS(assets, "assets/app.html")), pace: p}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.home)
	mux.HandleFunc("GET /whoami", a.whoami)
	mux.HandleFunc("POST /echo", a.echo)
	mux.HandleFunc("GET /ws", a.ws)
	mux.HandleFunc("GET /events", a.events)
	mux.HandleFunc("GET /download", a.download)
	mux.Handle("GET /assets/", asset("app.css", "app.js"))
	return mux
}

// asset serves the named embedded files and no other (the templates lie beside them).
func asset(names ...string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		name := strings.TrimPrefix(r.URL.Path, "/assets/")
		for _, n := range names {
			if n == name {
				w.Header().Set("X-Content-Type-Options", "nosniff")
				w.Header().Set("Cache-Control", "no-cache")
				http.ServeFileFS(w, r, assets, "assets/"+n)
				return
			}
		}
		http.NotFound(w, r)
	})
}

type header struct{ Name, Value string }

func (a *app) home(w http.ResponseWriter, r *http.Request) {
	var got []header
	for _, n := range identityHeaders() {
		got = append(got, header{n, strings.Join(r.Header.Values(n), " | ")})
	}
	name := r.Header.Get("X-Forwarded-Preferred-Username")
	// What an application must never see: the gateway's session cookie. Only
	// names are shown, a value would be a secret on a screen.
	var cookies []string
	for _, c := range r.Cookies() {
		cookies = append(cookies, c.Name)
	}
	writePage(w, a.page, map[string]any{
		"Name": name, "Headers": got, "Cookies": strings.Join(cookies, ", "), "Direct": r.Header.Get("X-Forwarded-User") == "",
	})
}

func writePage(w http.ResponseWriter, t *template.Template, data any) {
	var b strings.Builder
	if err := t.Execute(&b, data); err != nil {
		http.Error(w, "demo: page: "+err.Error(), http.StatusInternalServerError)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	_, _ = w.Write([]byte(b.String()))
}

// whoami answers the identity headers as JSON, for scripts.
func (a *app) whoami(w http.ResponseWriter, r *http.Request) {
	got := map[string][]string{}
	for _, n := range identityHeaders() {
		if v := r.Header.Values(n); v != nil {
			got[n] = v
		}
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(map[string]any{"headers": got, "cookies": len(r.Cookies())})
}

// echo answers what was sent, and by whom.
func (a *app) echo(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(http.MaxBytesReader(w, r.Body, 1<<20))
	if err != nil {
		http.Error(w, "demo: body: "+err.Error(), http.StatusRequestEntityTooLarge)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	_ = json.NewEncoder(w).Encode(map[string]any{"body": string(b), "type": r.Header.Get("Content-Type"), "user": r.Header.Get("X-Forwarded-Preferred-Username")})
}

// tick is one message of either stream.
type tick struct {
	N    int    `json:"tick"`
	Time string `json:"time"`
}

// ticks calls send at once and then at every tick until it fails or ctx ends.
func (a *app) ticks(ctx context.Context, send func(tick) error) {
	t := time.NewTicker(a.pace.tick)
	defer t.Stop()
	for n := 1; ; n++ {
		if send(tick{n, time.Now().Format("15:04:05")}) != nil {
			return
		}
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
	}
}

// writeLimit is how long a peer may take to read one message.
const writeLimit = 5 * time.Second

func (a *app) ws(w http.ResponseWriter, r *http.Request) {
	// Browsers send WebSocket handshakes from any site. The page's own origin is
	// the Host, or behind the gateway the X-Forwarded-Host that it sets.
	c, err := websocket.Accept(w, r, &websocket.AcceptOptions{OriginPatterns: origins(r)})
	if err != nil {
		return // Accept has answered
	}
	defer func() { _ = c.CloseNow() }()
	ctx := c.CloseRead(r.Context()) // nothing is expected from the page but its goodbye
	a.ticks(ctx, func(t tick) error {
		b, err := json.Marshal(t)
		if err != nil {
			return err
		}
		wctx, cancel := context.WithTimeout(ctx, writeLimit)
		defer cancel()
		return c.Write(wctx, websocket.MessageText, b)
	})
}

// origins is empty or the one forwarded host; a value with pattern characters
// would match more than itself and is left out.
func origins(r *http.Request) []string {
	h := r.Header.Get("X-Forwarded-Host")
	if h == "" || strings.ContainsAny(h, `*?[]\/`) {
		return nil
	}
	return []string{h}
}

func (a *app) events(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("Cache-Control", "no-store")
	a.ticks(r.Context(), func(t tick) error {
		_ = rc.SetWriteDeadline(time.Now().Add(writeLimit)) // not every writer has one; the context remains
		if _, err := fmt.Fprintf(w, "id: %d\ndata: {\"tick\":%d,\"time\":%q}\n\n", t.N, t.N, t.Time); err != nil {
			return err
		}
		return rc.Flush()
	})
}

// download is slow on purpose: about a minute, so that one can deactivate
// oneself in its midst. The length is announced, so a cut shows as a failed
// download and never as a complete file.
func (a *app) download(w http.ResponseWriter, r *http.Request) {
	rc := http.NewResponseController(w)
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	h.Set("Content-Disposition", `attachment; filename="lantern-log.txt"`)
	h.Set("Content-Length", strconv.Itoa(a.pace.chunks*a.pace.chunk))
	h.Set("Cache-Control", "no-store")
	line := "the lantern burns; nothing to report\n"
	block := []byte(strings.Repeat(line, a.pace.chunk/len(line)+1))[:a.pace.chunk]
	t := time.NewTicker(a.pace.every)
	defer t.Stop()
	for range a.pace.chunks {
		_ = rc.SetWriteDeadline(time.Now().Add(writeLimit))
		if _, err := w.Write(block); err != nil {
			return
		}
		if err := rc.Flush(); err != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-t.C:
		}
	}
}
