package refresh_test

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso"
	"github.com/ssogate/ssogate/sso/refresh"
	"github.com/ssogate/ssogate/sso/ssotest"
)

const every = 15 * time.Minute

// world is a provider, a directory and a store in virtual time: every test runs in
// a synctest bubble, so time.Now is moved by sleeping in it and nothing waits.
type world struct {
	t      *testing.T
	store  *ssotest.GrantsFake
	sealer *secret.Sealer
	live   *settings.Live
	dir    *directory
	idp    *provider
	log    *bytes.Buffer
}

func newWorld(t *testing.T) *world {
	t.Helper()
	sealer, err := secret.NewSealer(bytes.Repeat([]byte{7}, 32))
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, store: &ssotest.GrantsFake{}, sealer: sealer, live: &settings.Live{}, dir: &directory{epoch: 1}, log: &bytes.Buffer{}}
	w.idp = &provider{asked: map[string]int{}, answer: func(string) (sso.Refreshed, error) { return answer{}, nil }}
	w.set(every, true)
	return w
}

// set replaces the settings of the one provider.
func (w *world) set(every time.Duration, active bool) {
	w.live.Store(&settings.Settings{Providers: []settings.Provider{{
		ID: "okta", Name: "Okta", Protocol: settings.OIDC, Active: active, OIDC: settings.OIDCProvider{Recheck: every},
	}}})
}

// node is one more process on the same store.
func (w *world) node() *node {
	w.t.Helper()
	r := prometheus.NewRegistry()
	k, err := refresh.New(refresh.Options{
		Store: w.store, Sealer: w.sealer, Live: w.live, Directory: w.dir, Registry: r,
		Providers: func(id string) sso.Provider {
			if _, ok := w.live.Load().Provider(id); !ok {
				return nil
			}
			return w.idp
		},
		Log: slog.New(slog.NewTextHandler(&lockedWriter{b: w.log}, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return &node{Keeper: k, w: w, registry: r}
}

type node struct {
	*refresh.Keeper
	w        *world
	registry *prometheus.Registry
	stop     func()
}

// run starts the node and stops it with the test, which then waits for it.
func (n *node) run() *node {
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		n.Run(ctx)
	}()
	n.stop = sync.OnceFunc(func() { cancel(); <-done })
	n.w.t.Cleanup(n.stop)
	return n
}

// counted is token_refresh_total of one outcome.
func (n *node) counted(outcome string) int {
	n.w.t.Helper()
	families, err := n.registry.Gather()
	if err != nil {
		n.w.t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == "token_refresh_total" && label(m, "outcome") == outcome && label(m, "provider") == "okta" {
				return int(m.GetCounter().GetValue())
			}
		}
	}
	return 0
}

func label(m *dto.Metric, name string) string {
	for _, l := range m.GetLabel() {
		if l.GetName() == name {
			return l.GetValue()
		}
	}
	return ""
}

// signedIn keeps the grant of a session that began now.
func (n *node) signedIn(name, token string) secret.Hash {
	n.w.t.Helper()
	r := session.Record{
		Version: session.RecordVersion, Hash: secret.Sum(name), Member: member.ID("m-" + name), Epoch: 1, Provider: "okta",
		Issued: time.Now(), LastSeen: time.Now(), Expires: time.Now().Add(8 * time.Hour),
	}
	who := member.Identity{Provider: "okta", Issuer: "https://id.example.com", Subject: name}
	if err := n.Keep(context.Background(), r, who, token); err != nil {
		n.w.t.Fatal(err)
	}
	return r.Hash
}

// token is the refresh token that a session is asked about with, "" = none.
func (w *world) token(h secret.Hash) string {
	w.t.Helper()
	g, ok := w.store.Get(h)
	if !ok {
		return ""
	}
	plain, err := w.sealer.Open(g.Token, "refresh|"+h.String())
	if err != nil {
		w.t.Fatalf("the stored token does not open: %v", err)
	}
	return string(plain)
}

// untilDue is how long it takes until a session is asked about.
func (w *world) untilDue(h secret.Hash) time.Duration {
	g, _ := w.store.Get(h)
	return time.Until(g.Due)
}

func (w *world) failures(h secret.Hash) int {
	g, _ := w.store.Get(h)
	return g.Failures
}

// directory remembers which sessions were ended.
type directory struct {
	mu    sync.Mutex
	ended []member.EndedSession
	by    []member.Actor
	err   error // of both calls
	gone  bool  // the member was deleted
	epoch int64
	wide  int64 // the last row that ended everybody
}

func (d *directory) Snapshot(_ context.Context, id member.ID, ref member.SessionRef) (member.Snapshot, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return member.Snapshot{}, d.err
	}
	if d.gone {
		return member.Snapshot{}, member.ErrNotFound
	}
	s := member.Snapshot{Member: member.Member{ID: id, Epoch: d.epoch}, EndedBefore: d.wide}
	for _, e := range d.ended {
		s.SessionEnded = s.SessionEnded || e.Hash == ref.Hash
	}
	return s, nil
}

func (d *directory) EndSession(_ context.Context, by member.Actor, s member.EndedSession) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.err != nil {
		return d.err
	}
	d.ended, d.by = append(d.ended, s), append(d.by, by)
	return nil
}

func (d *directory) set(change func(*directory)) {
	d.mu.Lock()
	defer d.mu.Unlock()
	change(d)
}

func (d *directory) endings() []member.EndedSession {
	d.mu.Lock()
	defer d.mu.Unlock()
	return append([]member.EndedSession(nil), d.ended...)
}

// provider answers as a test says and counts the questions by token.
type provider struct {
	sso.Provider
	mu     sync.Mutex
	asked  map[string]int
	answer func(token string) (sso.Refreshed, error)
}

func (p *provider) Refresh(ctx context.Context, _ member.Identity, token string) (sso.Refreshed, error) {
	p.mu.Lock()
	p.asked[token]++
	f := p.answer
	p.mu.Unlock()
	a, err := f(token)
	if ctx.Err() != nil && err == nil {
		return nil, &sso.RefreshError{Outcome: "timeout", Err: ctx.Err()}
	}
	return a, err
}

func (p *provider) says(f func(token string) (sso.Refreshed, error)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.answer = f
}

// fails is an answer that confirms nothing.
func fails(e sso.RefreshError) func(string) (sso.Refreshed, error) {
	return func(string) (sso.Refreshed, error) { return nil, &e }
}

func (p *provider) questions() (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, times := range p.asked {
		n += times
	}
	return n
}

type answer struct {
	token  string
	verify error
}

func (a answer) Token() string                { return a.token }
func (a answer) Verify(context.Context) error { return a.verify }

type lockedWriter struct {
	mu sync.Mutex
	b  *bytes.Buffer
}

func (l *lockedWriter) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// claimAt takes every grant that is due at a time, for a node that never comes back.
func claimAt(now time.Time) refresh.Claim {
	return refresh.Claim{ID: "killed", Provider: "okta", Now: now, Until: now.Add(30 * time.Second), Limit: 10}
}
