package run

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/demo"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/sso/oauth"
	"github.com/ssogate/ssogate/sso/ssotest"
)

// Provider ids and organisation of the demo.
const (
	DemoSAML = "demo-saml"
	DemoOIDC = "demo-oidc"
	demoOrg  = "demo"
)

// DemoOptions shape the demo. The zero value listens on ports 8080 to 8084 with
// everything embedded.
type DemoOptions struct {
	Port     int    // Port to Port+4 are used; 0 picks free ones
	Upstream string // stand in front of this instead of the sample application
	Redis    string // redis:// URL instead of the embedded session store
	Database string // postgres:// or sqlite: URL instead of a temporary file
	Log      *slog.Logger
	Now      clock.Func
	Adjust   func(*config.Config) // last word on the config, for tests
}

// DemoFacts is what a script needs to use a running demo; the names are the
// JSON of `ssogate demo --json`.
type DemoFacts struct {
	App      string       `json:"app"`
	Gateway  string       `json:"gateway"`
	Private  string       `json:"private"`
	SCIMBase string       `json:"scim_base_url"`
	Token    string       `json:"scim_token"`
	SAML     string       `json:"saml_idp_metadata"`
	OIDC     string       `json:"oidc_issuer"`
	People   []DemoPerson `json:"people"`
}

// DemoPerson is one of the people to be.
type DemoPerson struct {
	User     string `json:"user"`
	Password string `json:"password"`
}

// Demo is a whole small world in one process: a sample application, ssogate in
// front of it, a SAML identity provider that also provisions over SCIM, and an
// OpenID provider. Everything talks over real sockets. It leaves nothing behind.
type Demo struct {
	Facts  DemoFacts
	Server *Server
	SAML   *ssotest.SAMLIdP
	OP     *ssotest.OP

	people       []ssotest.Person
	clientSecret string
	scim         *demo.Client
	dir          string
	servers      []served
	giveBack     []func(context.Context) error // what servers the demo borrowed must forget
	log          *slog.Logger
}

type served struct {
	srv *http.Server
	l   net.Listener
}

// NewDemo binds all ports and builds everything; nothing answers yet.
func NewDemo(ctx context.Context, o DemoOptions) (_ *Demo, err error) {
	d := &Demo{log: o.Log, people: demo.People(), clientSecret: secret.NewToken()}
	defer func() {
		if err != nil {
			err = errors.Join(err, d.cleanup())
		}
	}()
	if d.dir, err = os.MkdirTemp("", "ssogate-demo-"); err != nil {
		return nil, fmt.Errorf("demo: %w", err)
	}
	ls, err := listenAll(ctx, o.Port)
	if err != nil {
		return nil, err
	}
	d.describe(ls)
	if err := d.providers(o, ls); err != nil {
		return nil, err
	}
	upstream := o.Upstream
	if upstream == "" {
		if upstream, err = d.sampleApp(ctx); err != nil {
			return nil, err
		}
	}
	// The IdPs answer before the gateway starts: it reads their metadata then.
	for _, s := range d.servers {
		go func() { _ = s.srv.Serve(s.l) }()
	}
	prefix, err := d.borrow(ctx, &o)
	if err != nil {
		return nil, err
	}
	cfg, err := d.config(o, ls, upstream)
	if err != nil {
		return nil, err
	}
	d.Server, err = New(ctx, Options{
		Config: cfg, Log: o.Log, Now: o.Now, RedisPrefix: prefix,
		Listeners: []net.Listener{ls[0], ls[1]}, PrivateListener: ls[4],
	})
	if err != nil {
		return nil, err
	}
	if err := d.register(); err != nil {
		return nil, errors.Join(err, d.Server.close())
	}
	return d, nil
}

// listenAll binds app, gateway, SAML IdP, OpenID provider and private listener.
func listenAll(ctx context.Context, port int) ([]net.Listener, error) {
	var ls []net.Listener
	var lc net.ListenConfig
	for i := range 5 {
		p := 0
		if port != 0 {
			p = port + i
		}
		l, err := lc.Listen(ctx, "tcp", "127.0.0.1:"+strconv.Itoa(p))
		if err != nil {
			for _, l := range ls {
				_ = l.Close()
			}
			return nil, fmt.Errorf("demo: port %d is taken (%w): choose others with --port N; N to N+4 are used", p, err)
		}
		ls = append(ls, l)
	}
	return ls, nil
}

// describe fixes the URLs. App and gateway are on localhost and the IdPs on
// 127.0.0.1, so that the browser really crosses sites (protocols W6).
func (d *Demo) describe(ls []net.Listener) {
	at := func(host string, i int) string {
		return "http://" + net.JoinHostPort(host, strconv.Itoa(ls[i].Addr().(*net.TCPAddr).Port))
	}
	d.Facts = DemoFacts{
		App: at("localhost", 0), Gateway: at("localhost", 1), Private: at("127.0.0.1", 4),
		SCIMBase: at("localhost", 1) + "/api/0/organizations/" + demoOrg + "/scim/v2",
		Token:    "ssogate_scim_" + secret.NewToken(),
		SAML:     at("127.0.0.1", 2) + "/metadata", OIDC: at("127.0.0.1", 3),
	}
	for _, p := range d.people {
		d.Facts.People = append(d.Facts.People, DemoPerson{User: p.User, Password: p.Password})
	}
}

// partners are the same people as the OpenID provider knows them: with an
// address at another organisation, and so other members. Accounts are never
// linked by a name or an address, and neither is given away twice (G6).
func partners(people []ssotest.Person) []ssotest.Person {
	out := slices.Clone(people)
	for i, p := range out {
		name, _, _ := strings.Cut(p.Email, "@")
		out[i].Email = name + "@partner.example"
	}
	return out
}

// Provisioning is the page that deactivates and re-activates people.
func (d *Demo) Provisioning() string { return d.idpURL() + "/" }

func (d *Demo) idpURL() string {
	u, err := url.Parse(d.Facts.SAML)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

func (d *Demo) providers(o DemoOptions, ls []net.Listener) (err error) {
	if d.SAML, err = ssotest.NewSAMLIdP(ssotest.SAMLOptions{BaseURL: d.idpURL(), People: d.people, Now: o.Now}); err != nil {
		return err
	}
	d.OP, err = ssotest.NewOP(ssotest.OPOptions{
		Issuer: d.Facts.OIDC, ClientID: "ssogate-demo", ClientSecret: d.clientSecret, People: partners(d.people), Now: o.Now,
		RedirectURIs: []string{d.Facts.Gateway + "/oauth/" + DemoOIDC + "/callback"}, PostLogoutRedirectURIs: []string{d.Facts.Gateway + oauth.LogoutDone},
	})
	if err != nil {
		return err
	}
	d.scim = demo.SCIMClient(demo.Options{BaseURL: d.Facts.SCIMBase, Token: d.Facts.Token, People: d.people, Log: d.log})
	// The SAML identity provider is also the one that provisions: its start page
	// is the SCIM client.
	idp := http.NewServeMux()
	idp.Handle("/{$}", d.scim)
	idp.Handle("/people/", d.scim)
	idp.Handle("/assets/", d.scim)
	idp.Handle("/", d.SAML)
	d.serve(ls[2], idp)
	d.serve(ls[3], d.OP)
	return nil
}

func (d *Demo) serve(l net.Listener, h http.Handler) {
	d.servers = append(d.servers, served{&http.Server{Handler: h, ReadHeaderTimeout: 10 * time.Second, ErrorLog: slog.NewLogLogger(d.log.Handler(), slog.LevelDebug)}, l})
}

func (d *Demo) sampleApp(ctx context.Context) (string, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("demo: %w", err)
	}
	d.serve(l, demo.App())
	return "http://" + l.Addr().String(), nil
}

// config is the demo's boot file, as a value. It passes the same validation as a file.
func (d *Demo) config(o DemoOptions, ls []net.Listener, upstream string) (*config.Config, error) {
	c := config.Default()
	c.URL = d.Facts.Gateway
	c.Listen, c.PrivateListen = ls[1].Addr().String(), ls[4].Addr().String()
	c.Organization = config.Organization{Slug: demoOrg, Name: "Demo Harbour", Support: "the person who started this demo"}
	c.RequireSSO = "on"
	c.Secrets.CookieKey, c.Secrets.SealKey = randomKey(64), randomKey(32)
	c.Database.URL = "sqlite:" + filepath.Join(d.dir, "ssogate.db")
	if o.Database != "" {
		c.Database.URL = o.Database
	}
	c.Redis.URL = o.Redis
	oidcAddr := d.Facts.OIDC[len("http://"):]
	c.Providers = []config.Provider{
		{ID: DemoSAML, Name: "Harbour SAML", Protocol: config.ProtocolSAML, Join: config.JoinSCIM, MetadataURL: d.Facts.SAML},
		{
			ID: DemoOIDC, Name: "Harbour OpenID", Protocol: config.ProtocolOIDC, Join: config.JoinIDP,
			Issuer: d.Facts.OIDC, ClientID: "ssogate-demo", ClientSecret: d.clientSecret,
			Attributes: config.Attributes{UserName: []string{"email"}},
		},
	}
	c.SCIM.Connections = []config.SCIMConnection{{
		Provider: DemoSAML, Match: "userName", Tokens: []config.SCIMToken{{Name: "demo", Token: d.Facts.Token}},
	}}
	c.Routes = []config.Route{{Name: "app", Origins: []string{d.Facts.App}, PathPrefix: "/", Upstream: upstream}}
	c.Outbound.Allow = []string{ls[2].Addr().String(), oidcAddr}
	c.ApplyDefaults()
	if o.Adjust != nil {
		o.Adjust(c)
	}
	if faults := c.Validate(); len(faults) > 0 {
		return nil, fmt.Errorf("demo: config: %v", faults)
	}
	return c, nil
}

func randomKey(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails since Go 1.24
	return base64.StdEncoding.EncodeToString(b)
}

// register tells the SAML IdP about ssogate, as an administrator would by
// pasting Entity ID and ACS URL.
func (d *Demo) register() error {
	xml, err := d.Server.SAMLMetadata(DemoSAML)
	if err != nil {
		return err
	}
	return d.SAML.RegisterMetadata(xml)
}

// Serve runs everything until ctx ends. ready is called once the people exist.
func (d *Demo) Serve(ctx context.Context, ready func()) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var wg sync.WaitGroup
	var err error
	wg.Go(func() { err = d.Server.Serve(ctx) })
	seedErr := d.scim.Seed(ctx)
	switch {
	case seedErr != nil:
		if ctx.Err() != nil {
			seedErr = nil // stopped while starting
		}
		cancel()
	case ready != nil:
		ready()
	}
	wg.Wait()
	return errors.Join(err, seedErr, d.cleanup())
}

// cleanup removes every trace.
func (d *Demo) cleanup() error {
	var errs []error
	for _, s := range d.servers {
		errs = append(errs, s.srv.Close())
	}
	if d.dir != "" {
		errs = append(errs, os.RemoveAll(d.dir))
	}
	for _, back := range d.giveBack {
		errs = append(errs, back(context.Background()))
	}
	return errors.Join(errs...)
}
