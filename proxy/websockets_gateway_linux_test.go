package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/ssogate/ssogate/internal/web"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/proxy/wire"
	"github.com/ssogate/ssogate/session"
	"github.com/ssogate/ssogate/store/sql"
)

// The gateway of the WebSocket measurement, alone in a process of its own: what
// its memory is, is the gateway's and nobody else's. It is everything that serves
// an app origin in "ssogate serve": database, directory, sessions, cut-off, gate,
// access log. Left out are the handlers of other origins, and signing in: the
// sessions of thousands of people are started in the store directly.

const roleVariable = "SSOGATE_WEBSOCKETS_ROLE"

func TestMain(m *testing.M) {
	switch role, arg, _ := strings.Cut(os.Getenv(roleVariable), " "); role {
	case "":
		os.Exit(m.Run())
	case "gateway":
		runGateway(arg)
	case "application":
		runApplication()
	}
}

// hello is the first line a gateway says.
type hello struct {
	Address string
	Cookies []string // one for each member
}

// memory is what a gateway answers to "memory". Sizes in bytes.
type memory struct {
	Ran        int64 // resident, as it ran
	Collected  int64 // resident, after the garbage was collected and given back
	Heap       int64 // live objects
	Stacks     int64 // of goroutines
	Goroutines int
	Open       int // requests and streams in flight
}

// cutAnswer is what a gateway answers to "deactivate".
type cutAnswer struct {
	Took time.Duration // until the directory's call returned, the barrier included
	Cut  time.Duration // of it, what closing the streams took
	Err  string
}

// stopwatch measures what closing takes.
type stopwatch struct {
	*Live
	took time.Duration
}

func (s *stopwatch) Cut(ctx context.Context, r member.Revocation) {
	start := time.Now()
	s.Live.Cut(ctx, r)
	s.took = time.Since(start)
}

type gateway struct {
	directory *member.Directory
	cutoff    *session.Cutoff
	manager   *session.Manager
	live      *stopwatch
	gate      *Gate
	members   []member.Member
}

var scimConnection = member.Connection{ID: "c", Provider: "okta", Activation: member.ActivateImmediate}

func must[T any](v T, err error) T {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	return v
}

// runGateway serves until its standard input ends. arg: application, directory,
// number of members, whether by TLS.
func runGateway(arg string) {
	var application, dir string
	var members int
	var secure bool
	must(fmt.Sscan(arg, &application, &dir, &members, &secure))
	ctx := context.Background()
	g := newGateway(ctx, application, dir)
	go func() { _ = g.cutoff.Run(ctx) }()
	must(0, g.cutoff.Barrier(ctx, 0))
	l := must(net.Listen("tcp", "127.0.0.1:0"))
	out := json.NewEncoder(os.Stdout)
	must(0, out.Encode(hello{Address: l.Addr().String(), Cookies: g.people(ctx, members)}))
	log := slog.New(slog.NewJSONHandler(io.Discard, nil))
	srv := &http.Server{
		Handler:     web.Handler(g.gate, web.Options{Secure: true, Log: log, Metrics: must(web.NewMetrics(prometheus.NewRegistry()))}),
		ConnContext: ConnContext, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
	}
	o := wire.Options{}
	if secure {
		example := httptest.NewTLSServer(nil)
		o.TLS = &tls.Config{Certificates: example.TLS.Certificates, NextProtos: []string{"http/1.1"}}
		example.Close()
	}
	go func() { _ = srv.Serve(wire.Listen(l, o)) }()
	for in := bufio.NewScanner(os.Stdin); in.Scan(); {
		switch what, arg, _ := strings.Cut(in.Text(), " "); what {
		case "memory":
			must(0, out.Encode(g.memory()))
		case "deactivate":
			must(0, out.Encode(g.deactivate(ctx, must(strconv.Atoi(arg)))))
		}
	}
	os.Exit(0)
}

func newGateway(ctx context.Context, application, dir string) *gateway {
	g := &gateway{}
	db := must(sql.Open(ctx, "sqlite:"+filepath.Join(dir, "ssogate.db")))
	sessions := db.Sessions(time.Now, must(sql.NewSessionMetrics(prometheus.NewRegistry())))
	g.live = &stopwatch{Live: must(NewLive(LiveOptions{}))}
	g.cutoff = must(session.NewCutoff(ctx, session.CutoffOptions{
		Log: db, Registry: db, Finisher: db, Store: sessions, Streams: g.live, LeaseGrace: 10 * time.Second,
		Logger: slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}))
	g.directory = &member.Directory{Store: db, Revoker: g.cutoff}
	g.manager = must(session.NewManager(session.ManagerOptions{
		Store: sessions, Directory: g.directory, Cookies: must(session.NewCookies(true, make([]byte, 64))), Cutoff: g.cutoff,
		Limits:         session.Limits{Idle: time.Hour, Absolute: 8 * time.Hour},
		ProviderActive: func(string) bool { return true },
	}))
	routes := must(Compile([]RouteSpec{{Name: "app", Origins: []string{"https://" + appHost}, Upstream: application}}, "https://sso.example.com"))
	g.gate = must(New(Options{
		Sessions: g.manager, SignIn: &fakeSignIn{}, Reserved: http.NotFoundHandler(), Routes: routes, Live: g.live.Live,
		Audit: db, GatewayURL: "https://sso.example.com",
	}))
	return g
}

// people provisions and signs in that many, and answers their cookies.
func (g *gateway) people(ctx context.Context, n int) []string {
	out := make([]string, n)
	for i := range n {
		m := must(g.directory.Create(ctx, member.Actor{Name: "scim:okta"}, scimConnection, member.Member{UserName: fmt.Sprintf("person%d@example.com", i), Wish: true}))
		id, _, err := g.manager.Start(ctx, session.Start{Member: m, Provider: "okta", Address: "192.0.2.1", UserAgent: "test"})
		must(0, err)
		rec := httptest.NewRecorder()
		must(0, g.manager.Cookies().SetSession(rec, session.App, appHost, id))
		c := rec.Result().Cookies()[0]
		out[i], g.members = c.Name+"="+c.Value, append(g.members, m)
	}
	return out
}

func (g *gateway) deactivate(ctx context.Context, i int) cutAnswer {
	start := time.Now()
	_, err := g.directory.Update(ctx, member.Actor{Name: "scim:okta"}, scimConnection, g.members[i].ID, 0, func(m *member.Member) error {
		m.Wish = false
		return nil
	})
	a := cutAnswer{Took: time.Since(start), Cut: g.live.took}
	if err != nil {
		a.Err = err.Error()
	}
	return a
}

func (g *gateway) memory() (m memory) {
	m.Ran = resident()
	debug.FreeOSMemory()
	m.Collected = resident()
	var s runtime.MemStats
	runtime.ReadMemStats(&s)
	m.Heap, m.Stacks, m.Goroutines = int64(s.HeapAlloc), int64(s.StackInuse), runtime.NumGoroutine()
	g.live.mu.Lock()
	defer g.live.mu.Unlock()
	m.Open = g.live.total
	return m
}

// resident is the resident set of this process, as Linux counts it.
func resident() int64 {
	b := must(os.ReadFile("/proc/self/statm"))
	f := strings.Fields(string(b))
	return must(strconv.ParseInt(f[1], 10, 64)) * int64(os.Getpagesize())
}
