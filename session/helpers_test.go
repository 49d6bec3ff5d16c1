package session_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
	"github.com/ssogate/ssogate/session/sessiontest"
)

var errDown = errors.New("store is down")

// world is a Manager with parts that can be made to fail, slow down or change.
type world struct {
	t       testing.TB
	clock   *clock.Manual
	store   *sessiontest.Fake
	dir     *directory
	log     *revlog
	primary *sessiontest.FakePrimary
	streams *streams
	cutoff  *session.Cutoff
	cookies *session.Cookies
	m       *session.Manager
	stop    func()
}

func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{t: t, clock: &clock.Manual{}, streams: &streams{}}
	w.store = sessiontest.NewFake(w.clock.Now)
	w.log = &revlog{}
	w.primary = &sessiontest.FakePrimary{Rows: w.log}
	w.dir = &directory{members: map[member.ID]member.Member{}, log: w.log, ended: map[string]bool{}}
	w.begin(nil)
	return w
}

// begin starts the node.
func (w *world) begin(change func(*session.CutoffOptions)) {
	t := w.t
	t.Helper()
	o := session.CutoffOptions{
		Log: w.primary, Registry: w.primary, Finisher: w.primary, Store: w.store, Streams: w.streams, LeaseGrace: 300 * time.Millisecond,
		Logger: slog.New(slog.DiscardHandler), Now: w.clock.Now, Name: "this",
	}
	if change != nil {
		change(&o)
	}
	var err error
	if w.cutoff, err = session.NewCutoff(t.Context(), o); err != nil {
		t.Fatal(err)
	}
	w.dir.barrier = w.cutoff.Barrier
	if w.cookies, err = session.NewCookies(true, bytes.Repeat([]byte{1}, 64)); err != nil {
		t.Fatal(err)
	}
	w.manage(session.Limits{Idle: time.Hour, Absolute: 8 * time.Hour}, nil)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = w.cutoff.Run(ctx) })
	w.stop = sync.OnceFunc(func() { cancel(); wg.Wait() })
	t.Cleanup(w.stop)
	// A barrier at the log's end returns once the loop runs; the lease comes with the same step.
	if err := w.cutoff.Barrier(t.Context(), 0); err != nil {
		t.Fatal(err)
	}
}

// manage replaces the Manager by one with other limits or settings.
func (w *world) manage(l session.Limits, s session.Settings) {
	w.t.Helper()
	var err error
	w.m, err = session.NewManager(session.ManagerOptions{
		Store: w.store, Directory: w.dir, Cookies: w.cookies, Cutoff: w.cutoff, Now: w.clock.Now,
		Limits: l, Settings: s,
		ProviderActive: func(id string) bool { return id == "okta" || id == "google" },
	})
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) member(id member.ID) member.Member {
	m := member.Member{ID: id, UserName: string(id), Wish: true, Accepted: true, Epoch: 1}
	w.dir.put(m)
	return m
}

// signIn starts a session and returns a request maker that carries its cookie.
func (w *world) signIn(m member.Member) (session.Record, func() *http.Request) {
	w.t.Helper()
	id, rec, err := w.m.Start(w.t.Context(), session.Start{Member: m, Provider: "okta"})
	if err != nil {
		w.t.Fatal(err)
	}
	rr := httptest.NewRecorder()
	if err := w.cookies.SetSession(rr, session.App, "app.example.com", id); err != nil {
		w.t.Fatal(err)
	}
	c := rr.Result().Cookies()[0]
	return rec, func() *http.Request {
		r := httptest.NewRequest("GET", "https://app.example.com/", nil)
		r.Header.Set("Cookie", c.Name+"="+c.Value)
		return r
	}
}

// leased waits until the node holds a lease, by its effect: a cached principal
// is answered while the store is down.
func (w *world) leased(req func() *http.Request) {
	w.t.Helper()
	for range 200 {
		_, _ = w.m.Admit(w.t.Context(), req())
		w.store.Fail(errDown)
		_, err := w.m.Admit(w.t.Context(), req())
		w.store.Fail(nil)
		if err == nil {
			return
		}
		_ = w.cutoff.Barrier(w.t.Context(), w.cutoff.Applied())
		time.Sleep(5 * time.Millisecond) // the lease runs on CLOCK_BOOTTIME, which no test can move
	}
	w.t.Fatal("no lease within a second")
}

// directory is a member list in memory whose changes write revocations like the real one.
type directory struct {
	mu       sync.Mutex
	members  map[member.ID]member.Member
	ended    map[string]bool
	log      *revlog
	barrier  func(context.Context, int64) error
	fail     error
	during   func() // runs inside Snapshot, after the read
	reads    int
	settings int64
}

func (d *directory) put(m member.Member) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.members[m.ID] = m
}

func (d *directory) setFail(err error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.fail = err
}

func (d *directory) Snapshot(_ context.Context, id member.ID, ref member.SessionRef) (member.Snapshot, error) {
	d.mu.Lock()
	d.reads++
	m, ok := d.members[id]
	seq, _ := d.log.LastRevocation(context.Background())
	snap := member.Snapshot{Member: m, Teams: []string{"finance"}, SessionEnded: d.ended[ref.Hash], Seq: seq, EndedBefore: d.log.endedBefore(id, ref), Settings: d.settings}
	err, during := d.fail, d.during
	d.during = nil
	d.mu.Unlock()
	if during != nil {
		during()
	}
	switch {
	case err != nil:
		return member.Snapshot{}, err
	case !ok:
		return member.Snapshot{}, member.ErrNotFound
	}
	return snap, nil
}

// deactivate is what a SCIM active=false does, without waiting for the barrier.
func (d *directory) deactivate(id member.ID) int64 {
	d.mu.Lock()
	m := d.members[id]
	m.Wish, m.Epoch = false, m.Epoch+1
	d.members[id] = m
	d.mu.Unlock()
	return d.log.add(member.Revocation{Kind: member.End, Scope: member.ScopeMember, Target: string(id), Epoch: m.Epoch})
}

func (d *directory) reactivate(id member.ID) member.Member {
	d.mu.Lock()
	defer d.mu.Unlock()
	m := d.members[id]
	m.Wish, m.Epoch = true, m.Epoch+1
	d.members[id] = m
	return m
}

func (d *directory) EndSession(ctx context.Context, _ member.Actor, s member.EndedSession) error {
	d.mu.Lock()
	d.ended[s.Hash] = true
	d.mu.Unlock()
	return d.barrier(ctx, d.log.add(member.Revocation{Kind: member.End, Scope: member.ScopeSession, Target: s.Hash}))
}

func (d *directory) EndSessions(ctx context.Context, _ member.Actor, id member.ID, _ string) error {
	d.mu.Lock()
	m := d.members[id]
	m.Epoch++
	d.members[id] = m
	d.mu.Unlock()
	return d.barrier(ctx, d.log.add(member.Revocation{Kind: member.End, Scope: member.ScopeMember, Target: string(id), Epoch: m.Epoch}))
}

// revlog is a revocation log in memory that can be cut off.
type revlog struct {
	mu    sync.Mutex
	rows  []member.Revocation
	swept int // rows that cannot be read any more
	fail  error
}

func (l *revlog) add(r member.Revocation) int64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.Seq = int64(len(l.rows)) + 1
	l.rows = append(l.rows, r)
	return r.Seq
}

func (l *revlog) endedBefore(id member.ID, ref member.SessionRef) int64 {
	all, one := ref.Logins(id)
	l.mu.Lock()
	defer l.mu.Unlock()
	for i := len(l.rows) - 1; i >= 0; i-- {
		r := l.rows[i]
		if r.Kind == member.End && (r.Scope == member.ScopeAll || r.Scope == member.ScopeProvider && r.Target == ref.Provider ||
			r.Scope == member.ScopeLogins && (r.Target == all.Target() || r.Target == one.Target())) {
			return r.Seq
		}
	}
	return 0
}

func (l *revlog) setFail(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.fail = err
}

func (l *revlog) Revocations(_ context.Context, after int64, limit int) ([]member.Revocation, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.fail != nil {
		return nil, l.fail
	}
	rows := l.rows[min(max(after, int64(l.swept)), int64(len(l.rows))):]
	return append([]member.Revocation(nil), rows[:min(len(rows), limit)]...), nil
}

func (l *revlog) LastRevocation(context.Context) (int64, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return int64(len(l.rows)), l.fail
}

// streams records what was cut, and in which order relative to the acknowledgement.
type streams struct {
	mu     sync.Mutex
	cuts   []member.Revocation
	all    int
	before func(member.Revocation)
	hang   member.RevocationKind // cuts of this kind end only with their context
}

func (s *streams) Cut(ctx context.Context, r member.Revocation) {
	if s.hang != "" && s.hang == r.Kind {
		<-ctx.Done()
	}
	s.mu.Lock()
	before := s.before
	s.cuts = append(s.cuts, r)
	s.mu.Unlock()
	if before != nil {
		before(r)
	}
}

func (s *streams) CutAll(context.Context, string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all++
}

func (s *streams) cutAll() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.all
}

func closed(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

// eventually polls what only real time can bring about (a lease on CLOCK_BOOTTIME).
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for range 1000 {
		if ok() {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	t.Fatalf("never: %s", what)
}
