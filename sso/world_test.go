package sso_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/web"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/member/membertest"
	"github.com/ssogate/ssogate/session"
	"github.com/ssogate/ssogate/session/sessiontest"
	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso"
	"github.com/ssogate/ssogate/sso/ssotest"
)

const (
	gateway = "https://sso.example.com"
	app     = "https://app.example.com"
	two     = "https://two.example.net"
	idpHost = "idp.example.org"
)

var errDown = errors.New("store is down")

// world is a Flow over stores and providers that can be made to fail at any step.
type world struct {
	t       *testing.T
	clock   *clock.Manual
	pending *pending
	store   *sessiontest.Fake
	members *membertest.Fake
	dir     *directory
	audit   *recorder
	live    *settings.Live
	okta    *provider
	oidc    *provider
	cutoff  *session.Cutoff
	manager *session.Manager
	cookies *session.Cookies
	flow    *sso.Flow
	gateway http.Handler
	app     http.Handler
	log     *lockedWriter
}

func newWorld(t *testing.T, change ...func(*sso.Options)) *world {
	t.Helper()
	w := &world{t: t, clock: &clock.Manual{}, members: membertest.NewFake(), live: &settings.Live{}, log: &lockedWriter{b: &bytes.Buffer{}}}
	w.members.Now = w.clock.Now
	w.pending = &pending{PendingFake: ssotest.NewPendingFake(w.clock.Now, 1000)}
	w.store = sessiontest.NewFake(w.clock.Now)
	w.audit = &recorder{}
	w.okta = &provider{info: sso.Info{ID: "okta", Name: "Okta", Protocol: "saml"}, world: w}
	w.oidc = &provider{info: sso.Info{ID: "keycloak", Name: "Keycloak", Protocol: "oidc"}, world: w}
	w.providers("okta", "keycloak")
	log := slog.New(slog.NewTextHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	var err error
	primary := &sessiontest.FakePrimary{Rows: w.members}
	w.cutoff, err = session.NewCutoff(t.Context(), session.CutoffOptions{
		Log: primary, Registry: primary, Finisher: primary, Store: w.store, Streams: noStreams{}, LeaseGrace: time.Minute, Logger: log, Now: w.clock.Now,
	})
	must(err)
	w.dir = &directory{Directory: &member.Directory{Store: w.members, Revoker: w.cutoff, Now: w.clock.Now}}
	w.cookies, err = session.NewCookies(true, bytes.Repeat([]byte{1}, 64))
	must(err)
	w.manager, err = session.NewManager(session.ManagerOptions{
		Store: w.store, Directory: w.dir, Cookies: w.cookies, Cutoff: w.cutoff, Now: w.clock.Now,
		Limits: session.Limits{Idle: 2 * time.Hour, Absolute: 8 * time.Hour},
		ProviderActive: func(id string) bool {
			_, ok := w.live.Load().Provider(id)
			return ok || id == session.PasswordProvider && !w.live.Load().RequireSSO
		},
	})
	must(err)
	o := sso.Options{
		URL: gateway, Home: app, Origins: func(o string) bool { return o == app || o == two }, Live: w.live,
		Providers: func(id string) sso.Provider {
			if _, ok := w.live.Load().Provider(id); !ok {
				return nil
			}
			return map[string]sso.Provider{"okta": w.okta, "keycloak": w.oidc}[id]
		},
		Pending: w.pending, Sessions: w.manager, Directory: w.dir, Audit: w.audit, Log: log, Now: w.clock.Now,
	}
	for _, c := range change {
		c(&o)
	}
	w.flow, err = sso.New(o)
	must(err)
	w.gateway, w.app = web.Handler(w.flow.Gateway(), web.Options{}), web.Handler(w.appHandler(), web.Options{})
	ctx, cancel := context.WithCancel(context.Background())
	var wg sync.WaitGroup
	wg.Go(func() { _ = w.cutoff.Run(ctx) })
	t.Cleanup(func() { cancel(); wg.Wait() })
	return w
}

// providers makes exactly these active.
func (w *world) providers(ids ...string) {
	s := &settings.Settings{Organization: settings.Organization{Slug: "acme", Name: "Acme", Support: "help@example.com"}}
	for _, id := range ids {
		p := settings.Provider{ID: id, Name: id, Protocol: settings.SAML, Join: member.JoinIDP, Active: true}
		if id == "keycloak" {
			p.Protocol = settings.OIDC
		}
		s.Providers = append(s.Providers, p)
	}
	w.live.Store(s)
}

// appHandler is a gate in a few lines: the reserved prefix, or the page of whoever is admitted.
func (w *world) appHandler() http.Handler {
	reserved := w.flow.Reserved()
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/.sso/") {
			reserved.ServeHTTP(rw, r)
			return
		}
		p, err := w.manager.Admit(r.Context(), r)
		switch {
		case err == nil:
			fmt.Fprintf(rw, "app for %s", p.Member.UserName)
		case session.Reason(err) == "store_unavailable":
			rw.WriteHeader(http.StatusServiceUnavailable)
		default:
			u, err := w.flow.BeginURL(rw, r, sso.Begin{Origin: "https://" + r.Host, ReturnPath: r.URL.RequestURI()})
			if w.flow.TooMany(err) {
				rw.WriteHeader(http.StatusTooManyRequests)
				return
			} else if err != nil {
				rw.WriteHeader(http.StatusServiceUnavailable)
				return
			}
			http.Redirect(rw, r, u, http.StatusFound)
		}
	})
}

// pending lets a test fail or watch single steps.
type pending struct {
	*ssotest.PendingFake
	mu   sync.Mutex
	hook func(op string, k sso.RecordKind) error
}

func (p *pending) on(f func(op string, k sso.RecordKind) error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.hook = f
}

func (p *pending) step(op string, k sso.RecordKind) error {
	p.mu.Lock()
	f := p.hook
	p.mu.Unlock()
	if f == nil {
		return nil
	}
	return f(op, k)
}

func (p *pending) Put(ctx context.Context, k sso.Key, v []byte, until time.Time) error {
	if err := p.step("put", k.Kind); err != nil {
		return err
	}
	return p.PendingFake.Put(ctx, k, v, until)
}

func (p *pending) Get(ctx context.Context, k sso.Key) ([]byte, error) {
	if err := p.step("get", k.Kind); err != nil {
		return nil, err
	}
	return p.PendingFake.Get(ctx, k)
}

func (p *pending) Take(ctx context.Context, keys ...sso.Key) ([][]byte, error) {
	if err := p.step("take", keys[0].Kind); err != nil {
		return nil, err
	}
	return p.PendingFake.Take(ctx, keys...)
}

func (p *pending) Once(ctx context.Context, k sso.Key, until time.Time) error {
	if err := p.step("once", k.Kind); err != nil {
		return err
	}
	return p.PendingFake.Once(ctx, k, until)
}

// failing answers err for one step and leaves the others alone.
func failing(err error, op string, kind sso.RecordKind) func(string, sso.RecordKind) error {
	return func(o string, k sso.RecordKind) error {
		if o == op && k == kind {
			return err
		}
		return nil
	}
}

// directory is the real one, with a fault.
type directory struct {
	*member.Directory
	mu             sync.Mutex
	admit, endings error
	before         func() // runs before Admit
}

func (d *directory) set(admit, endings error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.admit, d.endings = admit, endings
}

func (d *directory) Admit(ctx context.Context, l member.Login) (member.Member, error) {
	d.mu.Lock()
	err, before := d.admit, d.before
	d.mu.Unlock()
	if before != nil {
		before()
	}
	if err != nil {
		return member.Member{}, err
	}
	return d.Directory.Admit(ctx, l)
}

func (d *directory) EndSession(ctx context.Context, by member.Actor, s member.EndedSession) error {
	d.mu.Lock()
	err := d.endings
	d.mu.Unlock()
	if err != nil {
		return err
	}
	return d.Directory.EndSession(ctx, by, s)
}

// recorder is an audit log.
type recorder struct {
	mu     sync.Mutex
	events []audit.Event
	err    error
}

func (a *recorder) Record(_ context.Context, e audit.Event) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.err != nil {
		return a.err
	}
	a.events = append(a.events, e)
	return nil
}

func (a *recorder) fail(err error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.err = err
}

func (a *recorder) reasons() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var out []string
	for _, e := range a.events {
		if e.Outcome == audit.Denied {
			out = append(out, e.Reason)
		}
	}
	return out
}

func (a *recorder) count(kind string) (n int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, e := range a.events {
		if e.Kind == kind {
			n++
		}
	}
	return n
}

type noStreams struct{}

func (noStreams) Cut(context.Context, member.Revocation) {}
func (noStreams) CutAll(context.Context, string)         {}

type lockedWriter struct {
	mu sync.Mutex
	b  *bytes.Buffer
}

func (l *lockedWriter) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// provider is an identity provider whose answers a test writes. The "signature"
// is that the answer came through provider.answer.
type provider struct {
	info  sso.Info
	world *world
	begin error
	form  []sso.Field // what Begin answers besides a URL
	// change edits what is vouched for; refuse is what Verify answers instead.
	change func(*sso.Assertion)
	refuse error
	recv   error
	serial int
}

func (p *provider) Info() sso.Info { return p.info }

func (p *provider) Begin(_ context.Context, l sso.Login) (sso.Start, error) {
	if p.begin != nil {
		return sso.Start{}, p.begin
	}
	p.serial++
	id := fmt.Sprint("req-", p.serial)
	u := url.URL{Scheme: "https", Host: idpHost, Path: "/" + p.info.ID, RawQuery: url.Values{"state": {l.ID}, "req": {id}, "force": {fmt.Sprint(l.ForceAuthn)}}.Encode()}
	return sso.Start{URL: u.String(), Form: p.form, RequestID: id}, nil
}

func (p *provider) ServeMetadata(w http.ResponseWriter, _ *http.Request) {
	fmt.Fprint(w, "<metadata/>")
}

func (p *provider) Receive(_ http.ResponseWriter, r *http.Request) (sso.Response, error) {
	if p.recv != nil {
		return nil, p.recv
	}
	if err := r.ParseForm(); err != nil {
		return nil, err
	}
	return &response{p: p, form: r.Form}, nil
}

type response struct {
	p    *provider
	form url.Values
}

func (r *response) LoginID() string   { return r.form.Get("state") }
func (r *response) Unsolicited() bool { return r.form.Get("req") == "" }

func (r *response) Verify(_ context.Context, l sso.Login) (sso.Assertion, error) {
	if r.p.refuse != nil {
		return sso.Assertion{}, r.p.refuse
	}
	if r.form.Get("req") != l.Start.RequestID {
		return sso.Assertion{}, &sso.VerifyError{Reason: "in_response_to"}
	}
	who := r.form.Get("as")
	a := sso.Assertion{
		Identity:  member.Identity{Provider: r.p.info.ID, Issuer: "https://" + idpHost, Subject: who},
		Profile:   member.Profile{UserName: who, Email: who + "@example.com"},
		ReplayKey: r.form.Get("assertion"), ReplayUntil: r.p.world.clock.Now().Add(5 * time.Minute),
	}
	if r.p.change != nil {
		r.p.change(&a)
	}
	return a, nil
}
