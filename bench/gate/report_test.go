package gate

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// figures beside the comparison.
type figures struct {
	idle   int           // connections opened to rest
	perOne float64       // KiB of each
	rest   float64       // MiB of the process before anybody came
	port   time.Duration // from the start of the program to an open port
}

// ratios of each round to another subject's, whose rounds lie between the same others.
func ratios(s, base *subject) []float64 {
	var out []float64
	for i := range min(len(s.cpu), len(base.cpu)) {
		out = append(out, s.cpu[i]/base.cpu[i])
	}
	return out
}

func named(subjects []*subject, name string) *subject {
	for _, s := range subjects {
		if s.name == name {
			return s
		}
	}
	return nil
}

// table is the comparison in Markdown.
func table(subjects []*subject) string {
	var b strings.Builder
	base, low := named(subjects, "Go floor+pool"), named(subjects, "nginx")
	b.WriteString("| proxy | CPU us per request (quartiles) | of Go floor+pool | of nginx | requests/s | p50 us | p99 us | new upstream connections per request | memory MiB |\n|---|---|---|---|---|---|---|---|---|\n")
	for _, s := range subjects {
		var lat latencies
		for i := range s.slices {
			lat.merge(&s.slices[i].lat)
		}
		q1, m, q3 := quartiles(s.cpu)
		over := func(o *subject) string {
			if o == nil {
				return "-"
			}
			a, mid, z := quartiles(ratios(s, o))
			return fmt.Sprintf("%.2f (%.2f-%.2f)", mid, a, z)
		}
		fmt.Fprintf(&b, "| %s | %.1f (%.1f-%.1f) | %s | %s | %.0f | %.0f | %.0f | %.5f | %.0f |\n", s.name, m, q1, q3, over(base), over(low),
			median(s.rate), lat.at(.5), lat.at(.99), float64(s.dials)/float64(max(s.count, 1)), float64(s.rss)/(1<<20))
	}
	return b.String()
}

// plot is a bar for each subject: CPU time per request, median, and a line at the floor.
func plot(subjects []*subject) string {
	const left, wide, high = 300, 560, 30
	most := 0.0
	for _, s := range subjects {
		most = max(most, median(s.cpu))
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" font-family="sans-serif" font-size="13" role="img" aria-label="CPU microseconds per request">`+"\n", left+wide+60, high*len(subjects)+40)
	b.WriteString("<style>text{fill:#222}.b{fill:#9bb5a8}.o{fill:#1f5c46}.f{stroke:#b4541a;stroke-dasharray:4 3}@media(prefers-color-scheme:dark){text{fill:#ddd}.o{fill:#4fae88}}</style>\n")
	b.WriteString(`<text x="8" y="18">CPU microseconds of the proxy per request, median; one core</text>` + "\n")
	for i, s := range subjects {
		y, class := 30+i*high, "b"
		if strings.HasPrefix(s.name, "ssogate") {
			class = "o"
		}
		w := median(s.cpu) / most * wide
		fmt.Fprintf(&b, `<text x="8" y="%d">%s</text><rect class="%s" x="%d" y="%d" width="%.1f" height="18"/><text x="%.1f" y="%d">%.0f</text>`+"\n",
			y+14, s.name, class, left, y, w, float64(left)+w+6, y+14, median(s.cpu))
	}
	if base := named(subjects, "Go floor+pool"); base != nil {
		x := left + median(base.cpu)/most*wide
		fmt.Fprintf(&b, `<line class="f" x1="%.1f" y1="26" x2="%.1f" y2="%d"/>`+"\n", x, x, 30+high*len(subjects))
	}
	b.WriteString("</svg>\n")
	return b.String()
}

// report writes docs/performance.md between its marks, and the plot beside it.
func report(t testing.TB, subjects []*subject, f figures) {
	t.Helper()
	text := table(subjects)
	if on, low := named(subjects, "ssogate, Redis"), named(subjects, "nginx"); on != nil && low != nil && low.paced.n > 0 {
		text += fmt.Sprintf("\nAt 1,500 requests a second by a timetable: p99 %.0f us with ssogate and Redis, %.0f us with nginx (%.2f).\n",
			on.paced.at(.99), low.paced.at(.99), on.paced.at(.99)/low.paced.at(.99))
	}
	if on, off := named(subjects, "ssogate, Redis"), named(subjects, "ssogate, Redis, auth off"); on != nil && off != nil {
		a, m, z := quartiles(ratios(on, off))
		text += fmt.Sprintf("\nAn admitted request costs %.2f (%.2f-%.2f) of one on the same process's public route.\n", m, a, z)
	}
	if f.idle > 0 {
		text += fmt.Sprintf("\n%.1f KiB for each of %d idle keep-alive connections; %.0f MiB at rest; %d ms from the start of the program to an open port.\n",
			f.perOne, f.idle, f.rest, f.port.Milliseconds())
	}
	t.Log("\n" + text)
	if *out == "" {
		return
	}
	path := filepath.Join(*out, "performance.md")
	doc, err := os.ReadFile(path) //nolint:gosec // G304: named by who runs the benchmark
	if err != nil {
		t.Fatal(err)
	}
	const begin, end = "<!-- figures -->\n", "<!-- end of figures -->"
	head, rest, ok := bytes.Cut(doc, []byte(begin))
	_, tail, ok2 := bytes.Cut(rest, []byte(end))
	if !ok || !ok2 {
		t.Fatalf("%s has no place for figures", path)
	}
	said := fmt.Sprintf("%d rounds of %s, %d connections, %s.\n\n", *rounds, *span, *conns, time.Now().UTC().Format("2 January 2006"))
	if err := os.WriteFile(path, []byte(string(head)+begin+said+text+end+string(tail)), 0o644); err != nil { //nolint:gosec // G306: a document
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(*out, "performance.svg"), []byte(plot(subjects)), 0o644); err != nil { //nolint:gosec // G306: a document
		t.Fatal(err)
	}
}

// collect lets go of what Go's collector would find within two minutes by itself.
func collect(t testing.TB) {
	t.Helper()
	for range 3 { // pools go with the second, memory goes back to the system after that
		res, err := http.Get(heapURL) //nolint:gosec // G107: of the program just started
		if err != nil {
			t.Fatal(err)
		}
		_ = res.Body.Close()
	}
	time.Sleep(2 * time.Second)
}

// resting measures connections that were used once and then kept.
func resting(t testing.TB, s *subject, n int, before usage, open time.Duration) figures {
	t.Helper()
	var cs []*client
	defer func() {
		for _, c := range cs {
			c.close()
		}
	}()
	for range n {
		c := &client{addr: s.addr, request: s.request()}
		if err := c.do(); err != nil {
			t.Fatal(err)
		}
		c.buf = nil
		cs = append(cs, c)
	}
	collect(t)
	after := treeUsage(t, s.roots...)
	return figures{idle: n, perOne: float64(after.rss-before.rss) / 1024 / float64(n), rest: float64(before.rss) / (1 << 20), port: open}
}
