package main

import (
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
)

// report is what was measured.
type report struct {
	options  options
	list     []*contestant
	absent   []missing
	rest     *rest // nil: not measured
	versions []string
}

// write prints the report, and keeps it where the options say.
func (rep *report) write() error {
	text := rep.markdown()
	if _, err := fmt.Print(text); err != nil || rep.options.out == "" {
		return err
	}
	if err := os.WriteFile(filepath.Join(rep.options.out, "performance.md"), []byte(text), 0o644); err != nil { //nolint:gosec // a document
		return err
	}
	return os.WriteFile(filepath.Join(rep.options.out, "performance.svg"), []byte(rep.plot()), 0o644) //nolint:gosec // as above
}

// of is the contestant of a name, or one that measured nothing.
func (rep *report) of(name string) *contestant {
	for _, c := range rep.list {
		if c.name == name {
			return c
		}
	}
	return &contestant{name: name}
}

// ratio compares two contestants round by round.
func (rep *report) ratio(a, b string, figure func(*measured) []float64) spread {
	return spreadOf(ratios(figure(&rep.of(a).measured), figure(&rep.of(b).measured)))
}

func cpuOf(m *measured) []float64  { return m.cpu }
func evenOf(m *measured) []float64 { return m.even }

// number formats a figure, or a dash where there is none.
func number(format string, v float64) string {
	if math.IsNaN(v) {
		return "-"
	}
	return fmt.Sprintf(format, v)
}

func (s spread) text(format string) string {
	if math.IsNaN(s.mid) {
		return "-"
	}
	return fmt.Sprintf(format+" ("+format+" to "+format+")", s.mid, s.low, s.high)
}

func (rep *report) markdown() string {
	var b strings.Builder
	o := rep.options
	fmt.Fprintf(&b, `# What an admitted request costs

What %s measured last, on %s/%s with %d cores, %s%s. One contestant at a time gets load, alone on one core; load, upstream
(nginx, 1 KiB) and Redis have the other: %d keep-alive connections, %d rounds, in each of which every contestant has a slice of %s, turn about.
Who asks for a sign-in was signed in for real (SAML or OpenID Connect), refused the request without the cookie and with a changed one, and told the upstream
who asks. ssogate writes its access log to a file and counts its metrics; the others write no access log. Figures are medians over the rounds, quartiles in
brackets; "times" are medians of ratios inside a round. Other machines have other times, and nearly the same ratios.

![CPU time of the proxy per request](performance.svg)

| | CPU us a request | times Go floor+pool | times nginx | requests/s | p50 ms | p99 ms | p99 ms at %d/s | times nginx | upstream connections a request | MiB |
|---|---|---|---|---|---|---|---|---|---|---|
`, "`make gatebench`", runtime.GOOS, runtime.GOARCH, runtime.NumCPU(), runtime.Version(), list(rep.versions), connections, o.rounds, o.slice, o.rate)
	for _, c := range rep.list {
		m := &c.measured
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s | %s | %s | %s |\n", c.name, spreadOf(m.cpu).text("%.1f"),
			number("%.2f", rep.ratio(c.name, floorPool, cpuOf).mid), number("%.2f", rep.ratio(c.name, bareNginx, cpuOf).mid),
			number("%.0f", spreadOf(m.perSecond).mid), number("%.2f", spreadOf(m.p50).mid), number("%.2f", spreadOf(m.p99).mid),
			number("%.2f", spreadOf(m.even).mid), number("%.2f", rep.ratio(c.name, bareNginx, evenOf).mid),
			number("%.5f", mean(m.dials)), number("%.0f", spreadOf(m.memory).mid))
	}
	for _, a := range rep.absent {
		fmt.Fprintf(&b, "| %s | %s | | | | | | | | | |\n", a.name, a.why)
	}
	b.WriteString(`
"Go floor" is httputil.ReverseProxy on a tuned http.Transport and nothing else, "+pool" with a BufferPool. CPU time is that of all processes of a contestant, by the
kernel's clock of each; Redis, where one is asked, is not among them. Memory is the proportional set size after a slice. Times at an even rate count from when a request was due.
`)
	rep.goals(&b)
	rep.others(&b)
	b.WriteString(`
The decision alone on a cache hit (session, rules, identity headers, assertion) is ` + "`go test -bench AuthOnCacheHit ./proxy`" + `. Very many idle WebSockets:
[cutoff-websockets.md](cutoff-websockets.md). 10 GiB up and down through the gate take a few megabytes of heap (` + "`make streams`" + `). Why it costs what it costs:
[decision 054](decisions/054-what-a-request-costs.md).
`)
	return b.String()
}

func list(versions []string) string {
	if len(versions) == 0 {
		return ""
	}
	return "; " + strings.Join(versions, ", ")
}

// goal is a figure that was wished for.
type goal struct {
	what   string
	got    float64
	limit  float64
	format string
}

// goals says which of the figures that were wished for are there.
func (rep *report) goals(b *strings.Builder) {
	goals := []goal{
		{"Redis sessions, times the route with auth off", rep.ratio(ourRedis, ourOff, cpuOf).mid, 1.10, "%.2f"},
		{"Redis sessions, times Go floor+pool (first stage)", rep.ratio(ourRedis, floorPool, cpuOf).mid, 1.10, "%.2f"},
		{"Redis sessions, times Go floor+pool (second stage)", rep.ratio(ourRedis, floorPool, cpuOf).mid, 0.60, "%.2f"},
		{"Redis sessions, times mod_auth_mellon", rep.ratio(ourRedis, mellon, cpuOf).mid, 1, "%.2f"},
		{"Redis sessions, times oauth2-proxy + Redis", rep.ratio(ourRedis, oauth2Proxy, cpuOf).mid, 0.25, "%.2f"},
		{"new upstream connections a request", mean(rep.of(ourRedis).measured.dials), 0.001, "%.5f"},
		{fmt.Sprintf("p99 at %d requests/s, times nginx", rep.options.rate), rep.ratio(ourRedis, bareNginx, evenOf).mid, 1.2, "%.2f"},
	}
	if r := rep.rest; r != nil {
		for _, i := range r.idle {
			limit := 12.0
			if i.what == webSocketKind {
				limit = 20
			}
			goals = append(goals, goal{fmt.Sprintf("KiB of an idle %s", i.what), i.resident, limit, "%.1f"})
		}
		goals = append(goals,
			goal{"ms from start to open port", spreadOf(r.open).mid, 100, "%.0f"},
			goal{fmt.Sprintf("ms from start to the first admitted request, %d members", r.members), spreadOf(r.first).mid, 150, "%.0f"},
			goal{"MB of memory at rest", r.memory * (1 << 20) / 1e6, 30, "%.1f"})
	}
	b.WriteString("\n## What was wished for\n\n| | measured | at most | |\n|---|---|---|---|\n")
	for _, g := range goals {
		verdict := "kept"
		switch {
		case math.IsNaN(g.got):
			verdict = "not measured"
		case g.got > g.limit:
			verdict = "missed"
		}
		fmt.Fprintf(b, "| %s | %s | %g | %s |\n", g.what, number(g.format, g.got), g.limit, verdict)
	}
}

// others are the figures without load.
func (rep *report) others(b *strings.Builder) {
	r := rep.rest
	if r == nil {
		return
	}
	fmt.Fprintf(b, `
## Without load

ssogate with its embedded store, on one core. Memory of open connections is what %d of them added, for each: to the resident memory as the process ran, and to what the
Go runtime holds after a collection (objects and stacks). On each one admitted request was answered before.

| | |
|---|---|
| start to open port | %s ms |
| start to first admitted request, %d members | %s ms |
| memory at rest | %.1f MiB |
`, rep.options.idle, spreadOf(r.open).text("%.0f"), r.members, spreadOf(r.first).text("%.0f"), r.memory)
	for _, i := range r.idle {
		fmt.Fprintf(b, "| idle %s | %.1f KiB resident, %.1f KiB held |\n", i.what, i.resident, i.live)
	}
}
