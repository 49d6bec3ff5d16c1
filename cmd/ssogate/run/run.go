package run

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/console"
	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/internal/web"
	"github.com/ssogate/ssogate/machine"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/proxy"
	"github.com/ssogate/ssogate/proxy/assertion"
	"github.com/ssogate/ssogate/proxy/wire"
	"github.com/ssogate/ssogate/scim"
	"github.com/ssogate/ssogate/session"
	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso"
	"github.com/ssogate/ssogate/sso/local"
	"github.com/ssogate/ssogate/store/sql"
)

// gatewayRead bounds reading one request to the gateway's own origin.
const gatewayRead = time.Minute

// Options of [New]. Config and Log are required.
type Options struct {
	Config *config.Config // loaded and validated
	Log    *slog.Logger
	Access *web.AccessLog // access records; nil writes them to Log
	Now    clock.Func     // time.Now when nil
	// Listeners replace the config's public listener, and PrivateListener its
	// private one: for tests, and for the demo, whose two origins are two ports.
	// The Server closes them.
	Listeners       []net.Listener
	PrivateListener net.Listener
	// RedisPrefix replaces the usual prefix of all Redis keys: for the demo, which
	// removes everything under its own when it ends.
	RedisPrefix string
}

// Server is a wired gateway. Make it with [New], run it with [Server.Serve].
type Server struct {
	cfg      *config.Config
	log      *slog.Logger
	access   *web.AccessLog
	now      clock.Func
	registry *prometheus.Registry

	db        *sql.DB
	sessions  sessionStores
	sealer    *secret.Sealer
	settings  *settings.Live
	versions  *settings.Manager  // of what is changed while it runs
	file      *settings.Settings // what the config file says
	reloading sync.Mutex
	rerouting sync.Mutex
	reloads   reloadMetrics
	degraded  atomic.Bool // the last reload was refused
	certs     certificates
	drafts    drafts
	providers *providerSet
	outbound  *http.Client
	live      *proxy.Live
	cutoff    *session.Cutoff
	directory *member.Directory
	keys      *session.KeyRing
	cookies   *session.Cookies
	manager   *session.Manager
	fallback  *session.Manager // of fallback owners
	local     *local.Service
	grants    sso.Grants // nil where nobody is asked about
	flow      *sso.Flow
	gate      *proxy.Gate
	routes    *proxy.Routes
	signing   *assertion.Ring
	machines  *machine.Admitter
	issuers   map[string]*machineIssuer // of the routes in force; see rerouting

	background []func(context.Context)
	sweepers   []func(context.Context) error
	closers    []func() error

	redisPrefix     string
	public, admin   *http.Server
	listeners       []net.Listener
	privateListener net.Listener
	draining        atomic.Bool
}

// New opens the stores, builds every part and binds the listeners. Nothing
// answers yet. After an error everything is closed again.
//
//ssogate:long the whole wiring stands in one list
func New(ctx context.Context, o Options) (_ *Server, err error) {
	s := &Server{
		cfg: o.Config, log: o.Log, access: o.Access, now: o.Now, registry: prometheus.NewRegistry(),
		settings: &settings.Live{}, providers: newProviderSet(),
		listeners: o.Listeners, privateListener: o.PrivateListener, redisPrefix: o.RedisPrefix,
	}
	if s.now == nil {
		s.now = time.Now
	}
	for _, l := range append(o.Listeners, o.PrivateListener) {
		if l != nil {
			s.closers = append(s.closers, closeListener(l))
		}
	}
	defer func() {
		if err != nil {
			if s.cutoff != nil { // registered already: the others need not wait for it
				err = errors.Join(err, s.leave())
			}
			err = errors.Join(err, s.close())
		}
	}()
	s.registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))

	// The whole wiring, in order. Each step reads only what the steps before it made.
	for _, step := range []struct {
		what string
		do   func(context.Context) error
	}{
		{"secrets", s.openSecrets},
		{"database", s.openDatabase},
		{"session store", s.openSessions},
		{"settings", s.loadSettings},
		{"outbound calls", s.openOutbound},
		{"routes", s.compileRoutes},
		{"assertion keys", s.makeAssertions},
		{"certificates", s.loadCertificates},
		{"streams", s.makeLive},
		{"cut-off", s.makeCutoff},
		{"machines", s.makeMachines},
		{"mail", s.makeMail},
		{"cookie keys", s.makeCookies},
		{"sessions", s.makeManager},
		{"local sign-in", s.makeLocal},
		{"identity providers", s.makeProviders},
		// What was published after they were read, and before this node was registered,
		// is in no row that it will see.
		{"settings, once more", s.reloadSettings},
		{"refresh", s.makeRefresh},
		{"sign-in", s.makeFlow},
		{"gate", s.makeGate},
		{"handlers", s.makeHandlers},
		{"listeners", s.listen},
		{"control socket", s.control},
	} {
		if err := step.do(ctx); err != nil {
			return nil, fmt.Errorf("run: %s: %w", step.what, err)
		}
	}
	return s, nil
}

// close undoes New, last first.
func (s *Server) close() error {
	var errs []error
	for i := len(s.closers) - 1; i >= 0; i-- {
		errs = append(errs, s.closers[i]())
	}
	s.closers = nil
	return errors.Join(errs...)
}

func closeListener(l net.Listener) func() error {
	return func() error {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			return err
		}
		return nil
	}
}

func (s *Server) openSecrets(context.Context) (err error) {
	s.sealer, err = secret.NewSealer(s.cfg.SealKeys()...)
	return err
}

func (s *Server) openDatabase(ctx context.Context) (err error) {
	if s.db, err = sql.Open(ctx, s.cfg.Database.URL); err != nil {
		return err
	}
	s.closers = append(s.closers, s.db.Close)
	s.sweepers = append(s.sweepers, func(ctx context.Context) error {
		_, err := s.db.SweepJournal(ctx, s.now())
		return err
	})
	return nil
}

func (s *Server) loadCertificates(context.Context) error {
	s.reloads = newReloadMetrics(s.registry)
	list, err := readCertificates(s.cfg)
	if err != nil || list == nil {
		return err
	}
	s.certs.list.Store(&list)
	s.warnUncovered(s.cfg)
	return nil
}

func (s *Server) makeCutoff(ctx context.Context) (err error) {
	s.cutoff, err = session.NewCutoff(ctx, session.CutoffOptions{
		Log: s.db, Registry: s.db, Finisher: s.db, Store: s.sessions.sessions, Streams: s.live, Wakes: s.sessions.wakes,
		Reload: s.reload, Name: s.nodeName(), Keys: session.NodeKeys{Cookie: keyIDs(s.cfg.CookieKeys()), Seal: keyIDs(s.cfg.SealKeys())},
		LeaseGrace: s.cfg.Streams.LeaseGrace, Logger: s.log, Now: s.now, Metrics: s.registry,
	})
	s.directory = &member.Directory{Store: s.db, Revoker: s.cutoff, Now: s.now}
	s.versions.Revoker = s.cutoff
	return err
}

// nodeName is what operators call this process.
func (s *Server) nodeName() string {
	if s.cfg.Node.Name != "" {
		return s.cfg.Node.Name
	}
	name, err := os.Hostname()
	if err != nil {
		return "unnamed" // only a label
	}
	return name
}

func (s *Server) makeManager(context.Context) (err error) {
	s.manager, err = session.NewManager(session.ManagerOptions{
		Store: s.sessions.sessions, Directory: s.directory, Cookies: s.cookies, Cutoff: s.cutoff, Now: s.now,
		Settings:       heldSettings{s},
		Limits:         session.Limits{Idle: s.cfg.Session.Idle, Absolute: s.cfg.Session.Absolute, PerMember: s.cfg.Session.PerMember},
		ProviderActive: s.providerActive,
	})
	return err
}

func (s *Server) makeFlow(context.Context) (err error) {
	signOuts := s.db.SignOuts()
	s.sweepers = append(s.sweepers, func(ctx context.Context) error { return signOuts.Sweep(ctx, s.now()) })
	s.flow, err = sso.New(sso.Options{
		URL: s.cfg.URL, Home: home(s.cfg), Origins: s.isOrigin, Live: s.settings, Providers: s.provider,
		Pending: s.sessions.pending, Budget: s.cfg.Limits.PendingSignIns, Shares: s.sessions.shares, Sessions: s.manager,
		Directory: s.directory, Audit: s.db, Grants: s.grants, SignOuts: signOuts, Sealer: s.sealer,
		TestProviders: s.testProvider, Results: s.versions,
		SignedOut: func(p *session.Principal) { s.gate.SignedOut(p) }, Local: s.local.ForMembers(),
		Log: s.log, Now: s.now, Registry: s.registry,
	})
	return err
}

func (s *Server) makeGate(context.Context) error {
	fronts, err := prefixes("forward_auth.from", s.cfg.ForwardAuth.From)
	if err != nil {
		return err
	}
	s.gate, err = proxy.New(proxy.Options{
		Sessions: s.manager, Machines: s.machines, SignIn: s.flow, Reserved: s.flow.Reserved(), Routes: s.routes, Live: s.live, Assertions: s.signing,
		SignOut: s.flow.SignOut, Outbound: s.outbound,
		Audit: s.db, GatewayURL: s.cfg.URL, Support: s.cfg.Organization.Support,
		OwnsDomain: func(provider, domain string) bool { return ownsDomain(s.settings.Load())(provider, domain) },
		Fronts:     fronts, Forms: forms{s.sessions.pending},
		Now: s.now, Log: s.log, Metrics: s.registry,
	})
	return err
}

func (s *Server) makeHandlers(context.Context) error {
	gateway, err := s.gatewayHandler()
	if err != nil {
		return err
	}
	metrics, err := web.NewMetrics(s.registry)
	if err != nil {
		return err
	}
	o := web.Options{Secure: strings.HasPrefix(s.cfg.URL, "https://"), Log: s.log, Access: s.access, Now: s.now, Metrics: metrics}
	if o.Trusted, err = prefixes("trusted_proxies", s.cfg.TrustedProxies); err != nil {
		return err
	}
	host := strings.ToLower(s.cfg.URL[strings.Index(s.cfg.URL, "://")+3:])
	o.Kind = func(r *http.Request) string {
		switch {
		case !strings.EqualFold(r.Host, host):
			return "app"
		case strings.HasPrefix(r.URL.Path, scim.Mount):
			return "scim"
		default:
			return "gateway"
		}
	}
	quiet := slog.NewLogLogger(s.log.Handler(), slog.LevelDebug) // what net/http says of broken clients
	s.public = &http.Server{
		Handler: web.Handler(byHost(host, gateway, s.gate), o), ConnContext: proxy.ConnContext, HTTP2: wire.HTTP2(),
		// OPTIONS * has no path to decide about; net/http would say 200 to it, past gate and log.
		DisableGeneralOptionsHandler: true,
		MaxHeaderBytes:               s.cfg.Limits.HeaderBytes, ReadHeaderTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute, ErrorLog: quiet,
	}
	s.admin = &http.Server{
		Handler: s.private(), MaxHeaderBytes: 16 << 10, ReadHeaderTimeout: 5 * time.Second,
		ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second, ErrorLog: quiet,
	}
	return nil
}

// gatewayHandler is everything on the gateway's own origin.
func (s *Server) gatewayHandler() (http.Handler, error) {
	c, err := console.New(console.Options{Sessions: gatewaySessions{s.manager, s.fallback}, Fallback: s.db, Live: s.settings, Now: s.now, Log: s.log})
	if err != nil {
		return nil, err
	}
	provisioning, err := s.provisioning()
	if err != nil {
		return nil, err
	}
	pages := http.NewServeMux()
	pages.Handle("/static/", c.Static())
	me := c.Me()
	pages.Handle("/me", me)
	pages.Handle("/me/", me)
	pages.Handle("/jwks.json", s.signing)
	pages.Handle(scim.TokenPath, provisioning.TokenEndpoint())
	pages.Handle("/{$}", http.RedirectHandler("/me", http.StatusFound))
	if err := s.serveLocal(pages); err != nil {
		return nil, err
	}
	pages.Handle("/", s.flow.Gateway())
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// Our own pages and SCIM take small bodies: a client that dribbles one (T05)
		// holds a connection for a minute, not for ever. App origins stream as they like.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(gatewayRead))
		// Not through the mux: it would answer "//Users" with a redirect, and an
		// identity provider's POST would arrive as a GET.
		if strings.HasPrefix(r.URL.Path, scim.Mount) {
			provisioning.ServeHTTP(w, r)
			return
		}
		pages.ServeHTTP(w, r)
	}), nil
}

// byHost gives the gateway origin its own handler and everything else to the
// gate, which refuses hosts it does not know. A host is compared whole, port
// included: another port is another origin.
func byHost(host string, gateway http.Handler, gate *proxy.Gate) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if gate.AsksForVerdict(r) { // under whatever name a proxy calls us
			gate.ServeVerdict(w, r)
			return
		}
		if strings.EqualFold(r.Host, host) {
			gateway.ServeHTTP(w, r)
			return
		}
		gate.ServeHTTP(w, r)
	})
}

func (s *Server) listen(ctx context.Context) error {
	var lc net.ListenConfig
	if s.listeners == nil {
		l, err := lc.Listen(ctx, "tcp", s.cfg.Listen)
		if err != nil {
			return err
		}
		s.listeners = []net.Listener{l}
		s.closers = append(s.closers, closeListener(l))
	}
	if s.privateListener == nil {
		l, err := lc.Listen(ctx, "tcp", s.cfg.PrivateListen)
		if err != nil {
			return err
		}
		s.privateListener = l
		s.closers = append(s.closers, closeListener(l))
	}
	return nil
}

// Addr is the address of the first public listener.
func (s *Server) Addr() net.Addr { return s.listeners[0].Addr() }

// PrivateAddr is the address of the private listener.
func (s *Server) PrivateAddr() net.Addr { return s.privateListener.Addr() }

// Settings are the live settings, which may be replaced while it runs.
func (s *Server) Settings() *settings.Live { return s.settings }
