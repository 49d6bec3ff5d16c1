package session_test

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
)

var cli = member.Actor{Name: "cli"}

// signInBy starts a session through a provider and answers its request maker.
func (w *world) signInBy(m member.Member, provider, index string) (session.Record, func() *http.Request) {
	w.t.Helper()
	m.AsOf, _ = w.log.LastRevocation(w.t.Context()) // as Directory.Admit stamps it
	id, rec, err := w.m.Start(w.t.Context(), session.Start{Member: m, Provider: provider, SessionIndex: index, UserAgent: "curl/8"})
	if err != nil {
		w.t.Fatal(err)
	}
	cookie := w.at(id, session.App, "app.example.com").Header.Get("Cookie")
	return rec, func() *http.Request {
		r := httptest.NewRequest(http.MethodGet, "https://app.example.com/", nil)
		r.Header.Set("Cookie", cookie)
		return r
	}
}

func TestFiftyRequestsOfOneSessionShareOneRead(t *testing.T) {
	w := newWorld(t) // C4
	_, warm := w.signIn(w.member("ben"))
	w.leased(warm)
	_, req := w.signIn(w.member("ana"))
	release := make(chan struct{})
	w.dir.mu.Lock()
	w.dir.reads = 0
	w.dir.during = func() { <-release }
	w.dir.mu.Unlock()
	const n = 50
	var wg sync.WaitGroup
	var admitted atomic.Int64
	started := make(chan struct{}, n)
	for range n {
		wg.Go(func() {
			started <- struct{}{}
			if p, err := w.m.Admit(t.Context(), req()); err == nil && p.Member.ID == "ana" {
				admitted.Add(1)
			}
		})
	}
	for range n {
		<-started
	}
	eventually(t, "one of them reads", func() bool { w.dir.mu.Lock(); defer w.dir.mu.Unlock(); return w.dir.reads > 0 })
	close(release)
	wg.Wait()
	w.dir.mu.Lock()
	defer w.dir.mu.Unlock()
	if admitted.Load() != n {
		t.Errorf("%d of %d admitted", admitted.Load(), n)
	}
	if w.dir.reads > 5 { // those that came after it landed hit the cache
		t.Errorf("%d reads for %d requests", w.dir.reads, n)
	}
}

// slowStore reads as slowly as a real one: whoever asks meanwhile waits for it.
type slowStore struct{ session.Store }

func (s slowStore) Get(ctx context.Context, h secret.Hash) (session.Record, error) {
	time.Sleep(5 * time.Millisecond)
	return s.Store.Get(ctx, h)
}

// G2: "ended" is a verdict for all who ask at once, and for none of them a 503.
func TestFiftyRequestsOfAnEndedSessionAreAllToldThatItEnded(t *testing.T) {
	w := newWorld(t)
	_, warm := w.signIn(w.member("ben"))
	w.leased(warm)
	_, req := w.signIn(w.member("ana"))
	if err := w.cutoff.Barrier(t.Context(), w.dir.deactivate("ana")); err != nil {
		t.Fatal(err)
	}
	m, err := session.NewManager(session.ManagerOptions{
		Store: slowStore{w.store}, Directory: w.dir, Cookies: w.cookies, Cutoff: w.cutoff, Now: w.clock.Now,
		Limits: session.Limits{Idle: time.Hour, Absolute: 8 * time.Hour}, ProviderActive: func(string) bool { return true },
	})
	if err != nil {
		t.Fatal(err)
	}
	const n = 50
	var wg sync.WaitGroup
	var told atomic.Int64
	for range n {
		wg.Go(func() {
			if _, err := m.Admit(t.Context(), req()); errors.Is(err, session.ErrRevoked) || errors.Is(err, session.ErrMember) {
				told.Add(1)
			}
		})
	}
	wg.Wait()
	if told.Load() != n {
		t.Errorf("%d of %d were told; the others got a 503, of stores that answer", told.Load(), n)
	}
}

func TestAReadThatOthersWaitForOutlivesTheClientThatBeganIt(t *testing.T) {
	w := newWorld(t)
	_, req := w.signIn(w.member("ana"))
	w.leased(req)
	w.log.add(member.Revocation{Kind: member.Recheck, Scope: member.ScopeAll})
	if err := w.cutoff.Barrier(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	release, begun := make(chan struct{}), make(chan struct{})
	w.dir.mu.Lock()
	w.dir.during = func() { close(begun); <-release }
	w.dir.mu.Unlock()
	ctx, hangUp := context.WithCancel(t.Context())
	first := make(chan error, 1)
	go func() { _, err := w.m.Admit(ctx, req()); first <- err }()
	<-begun
	second := make(chan error, 1)
	go func() { _, err := w.m.Admit(t.Context(), req()); second <- err }()
	hangUp()
	if err := <-first; err == nil {
		t.Error("a request that was given up was admitted")
	}
	close(release)
	if err := <-second; err != nil {
		t.Errorf("the one that waited for its read: %v", err)
	}
}

func TestASharedReadThatARevocationOvertookIsUsedByNobody(t *testing.T) {
	w := newWorld(t) // C3 and C4: ten wait for a read that began before the deactivation
	_, warm := w.signIn(w.member("ben"))
	w.leased(warm)
	_, req := w.signIn(w.member("ana"))
	begun, release := make(chan struct{}), make(chan struct{})
	w.dir.mu.Lock()
	w.dir.during = func() { close(begun); <-release }
	w.dir.mu.Unlock()
	var wg sync.WaitGroup
	var admitted atomic.Int64
	one := func() {
		if _, err := w.m.Admit(t.Context(), req()); err == nil {
			admitted.Add(1)
		}
	}
	wg.Go(one)
	<-begun
	if err := w.cutoff.Barrier(t.Context(), w.dir.deactivate("ana")); err != nil {
		t.Fatal(err)
	}
	for range 10 { // these start after the success answer
		wg.Go(one)
	}
	close(release)
	wg.Wait()
	if admitted.Load() != 0 {
		t.Errorf("%d admitted by a read from before", admitted.Load())
	}
}

func TestAPanicInASharedReadIsAnErrorAndNotTheEndOfTheProcess(t *testing.T) {
	w := newWorld(t) // fault 25
	_, req := w.signIn(w.member("ana"))
	w.leased(req)
	w.log.add(member.Revocation{Kind: member.Recheck, Scope: member.ScopeAll})
	if err := w.cutoff.Barrier(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	w.dir.mu.Lock()
	w.dir.during = func() { panic("boom") } // in the goroutine that several requests wait for, where no handler recovers
	w.dir.mu.Unlock()
	if p, err := w.m.Admit(t.Context(), req()); p != nil || session.Reason(err) != "store_unavailable" {
		t.Errorf("Admit = %v, %v", p, err)
	}
	if _, err := w.m.Admit(t.Context(), req()); err != nil {
		t.Errorf("the next request: %v", err)
	}
}

func TestWhatEndsEverybodySparesWhoSignsInAfterwards(t *testing.T) {
	for _, tt := range []struct {
		why    string
		row    member.Revocation
		spared string // the provider whose sessions live on
	}{
		{"Require SSO turned on ends everybody", member.Revocation{Kind: member.End, Scope: member.ScopeAll}, ""},
		{"a disabled provider ends its own", member.Revocation{Kind: member.End, Scope: member.ScopeProvider, Target: "okta"}, "google"},
	} {
		t.Run(tt.why, func(t *testing.T) {
			w := newWorld(t)
			ana := w.member("ana")
			_, okta := w.signInBy(ana, "okta", "")
			_, google := w.signInBy(ana, "google", "")
			w.leased(okta)
			w.leased(google)
			if err := w.cutoff.Barrier(t.Context(), w.log.add(tt.row)); err != nil {
				t.Fatal(err)
			}
			for provider, req := range map[string]func() *http.Request{"okta": okta, "google": google} {
				_, err := w.m.Admit(t.Context(), req())
				if spared := provider == tt.spared; (err == nil) != spared {
					t.Errorf("%s: session of %s: %v", tt.why, provider, err)
				}
			}
			_, fresh := w.signInBy(ana, "okta", "")
			if _, err := w.m.Admit(t.Context(), fresh()); err != nil {
				t.Errorf("%s: signed in afterwards: %v", tt.why, err)
			}
		})
	}
}

func TestASignInRacingTheEndOfEverybodyIsNeverAdmitted(t *testing.T) {
	w := newWorld(t)       // C6: Directory.Admit answered before the row, the session is made after it
	ana := w.member("ana") // stamped with 0
	if err := w.cutoff.Barrier(t.Context(), w.log.add(member.Revocation{Kind: member.End, Scope: member.ScopeAll})); err != nil {
		t.Fatal(err)
	}
	_, req := w.signIn(ana)
	if _, err := w.m.Admit(t.Context(), req()); !errors.Is(err, session.ErrRevoked) {
		t.Errorf("Admit = %v, want ErrRevoked", err)
	}
}

func TestSessionsAreListedAndEndedByTheirHandle(t *testing.T) {
	w := newWorld(t)
	ana, ben := w.member("ana"), w.member("ben")
	first, firstReq := w.signInBy(ana, "okta", "_1")
	w.clock.Advance(time.Minute)
	second, secondReq := w.signInBy(ana, "okta", "_2")
	bens, bensReq := w.signInBy(ben, "okta", "_3")
	list, err := w.m.Sessions(t.Context(), "ana")
	if err != nil || len(list) != 2 || list[0].Hash != second.Hash || list[1].Hash != first.Hash {
		t.Fatalf("list: %+v, %v; want both, newest first", list, err)
	}
	if list[0].UserAgent != "curl/8" || list[0].Provider != "okta" || list[0].Handle() == list[1].Handle() {
		t.Errorf("list shows %+v", list[0])
	}
	if _, err := w.m.EndOne(t.Context(), cli, "ana", bens.Handle(), "revoked"); !errors.Is(err, session.ErrNotFound) {
		t.Errorf("another member's handle: %v, want ErrNotFound", err)
	}
	if rec, err := w.m.EndOne(t.Context(), cli, "ana", first.Handle(), "revoked"); err != nil || rec.Hash != first.Hash {
		t.Fatalf("end: %+v, %v", rec, err)
	}
	for who, c := range map[string]struct {
		req  func() *http.Request
		live bool
	}{"the ended one": {firstReq, false}, "her other one": {secondReq, true}, "ben's": {bensReq, true}} {
		if _, err := w.m.Admit(t.Context(), c.req()); (err == nil) != c.live {
			t.Errorf("%s: %v", who, err)
		}
	}
	if list, err := w.m.Sessions(t.Context(), "ana"); err != nil || len(list) != 1 {
		t.Errorf("list afterwards: %+v, %v", list, err)
	}
	if list, err := w.m.Sessions(t.Context(), "nobody"); err != nil || len(list) != 0 {
		t.Errorf("list of an unknown member: %+v, %v", list, err)
	}
	w.store.Fail(errDown)
	if _, err := w.m.Sessions(t.Context(), "ana"); err == nil {
		t.Error("a store that is down looked like no sessions")
	}
}

func TestAListShowsNoSessionThatIsDead(t *testing.T) {
	w := newWorld(t)
	ana := w.member("ana")
	w.signInBy(ana, "okta", "")
	w.stop() // nobody tidies: the record stays
	w.dir.deactivate("ana")
	if list, err := w.m.Sessions(t.Context(), "ana"); err != nil || len(list) != 0 {
		t.Errorf("list: %+v, %v; want none of an epoch that has ended", list, err)
	}
}

func TestAProvidersOwnLogoutEndsExactlyWhatItNames(t *testing.T) {
	w := newWorld(t)
	ana := w.member("ana")
	recOne, one := w.signInBy(ana, "okta", "_1")
	_, two := w.signInBy(ana, "okta", "_2")
	_, foreign := w.signInBy(ana, "google", "_1")
	_, bens := w.signInBy(w.member("ben"), "okta", "_1")
	for _, req := range []func() *http.Request{one, two, foreign, bens} {
		w.leased(req)
	}
	logout := func(index string) {
		t.Helper()
		l := member.Logins{Member: "ana", Provider: "okta", Index: index}
		if err := w.cutoff.Barrier(t.Context(), w.log.add(member.Revocation{Kind: member.End, Scope: member.ScopeLogins, Target: l.Target()})); err != nil {
			t.Fatal(err)
		}
	}
	alive := func(req func() *http.Request) bool { _, err := w.m.Admit(t.Context(), req()); return err == nil }
	// The session store has just been flushed and restored: the logout must not depend on its index.
	w.store.Fail(errDown)
	logout("_1")
	w.store.Fail(nil)
	if alive(one) || !alive(two) || !alive(foreign) || !alive(bens) {
		t.Errorf("alive: _1 %v, _2 %v, another provider's _1 %v, another member's _1 %v", alive(one), alive(two), alive(foreign), alive(bens))
	}
	eventually(t, "the record is gone", func() bool {
		_, err := w.store.Get(t.Context(), recOne.Hash)
		return errors.Is(err, session.ErrNotFound)
	})
	_, again := w.signInBy(ana, "okta", "_1") // the IdP may use an index again
	if !alive(again) {
		t.Error("what was signed in after the logout is dead")
	}
	logout("")
	if alive(two) || alive(again) || !alive(foreign) {
		t.Errorf("without an index: alive %v %v, another provider's %v", alive(two), alive(again), alive(foreign))
	}
}

func TestOneSignInTooManyEndsTheOldestSession(t *testing.T) {
	w := newWorld(t)
	w.manage(session.Limits{Idle: time.Hour, Absolute: 8 * time.Hour, PerMember: 2}, nil)
	ana, ben := w.member("ana"), w.member("ben")
	_, bens := w.signInBy(ben, "okta", "")
	var reqs []func() *http.Request
	for range 4 {
		_, req := w.signInBy(ana, "okta", "")
		reqs = append(reqs, req)
		w.clock.Advance(time.Second)
	}
	for i, req := range reqs {
		if _, err := w.m.Admit(t.Context(), req()); (err == nil) != (i >= 2) {
			t.Errorf("session %d of 4, limit 2: %v", i, err)
		}
	}
	if _, err := w.m.Admit(t.Context(), bens()); err != nil {
		t.Errorf("another member's session: %v", err)
	}
}

func TestOfManySignInsAtOnceBeyondTheLimitOneStays(t *testing.T) {
	w := newWorld(t)
	w.manage(session.Limits{Idle: time.Hour, Absolute: 8 * time.Hour, PerMember: 1}, nil)
	ana := w.member("ana")
	var wg sync.WaitGroup
	ids := make([]string, 8)
	for i := range ids {
		wg.Go(func() { // who is told that another was newer has no id to go on with
			ids[i], _, _ = w.m.Start(t.Context(), session.Start{Member: ana, Provider: "okta"})
		})
	}
	wg.Wait()
	live := 0
	for _, id := range ids {
		if id != "" && w.m.Good(t.Context(), id) == nil {
			live++
		}
	}
	if list, err := w.m.Sessions(t.Context(), "ana"); live != 1 || err != nil || len(list) != 1 {
		t.Errorf("%d live sessions, list %+v, %v; want 1", live, list, err)
	}
}

func TestASessionThatIsOverAtOnceIsNotHandedOut(t *testing.T) {
	w := newWorld(t) // another node's clock is ahead
	w.manage(session.Limits{Idle: time.Hour, Absolute: 8 * time.Hour, PerMember: 1}, nil)
	ana := w.member("ana")
	w.clock.Advance(time.Minute)
	_, newer := w.signInBy(ana, "okta", "")
	w.clock.Advance(-time.Minute)
	w.manage(session.Limits{Idle: time.Hour, Absolute: 8 * time.Hour, PerMember: 1}, nil)
	if id, _, err := w.m.Start(t.Context(), session.Start{Member: ana, Provider: "okta"}); err == nil || id != "" {
		t.Errorf("Start = %q, %v; it is ended already", id, err)
	}
	if _, err := w.m.Admit(t.Context(), newer()); err != nil {
		t.Errorf("the newer one: %v", err)
	}
}

func TestAskingAgainIsNoUseOfASession(t *testing.T) {
	w := newWorld(t) // K06: a WebSocket stays open, and colleagues change teams all night
	rec, req := w.signIn(w.member("ana"))
	stored := func() time.Time {
		t.Helper()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		w.m.RunTouches(ctx, discard())
		got, err := w.store.Get(t.Context(), rec.Hash)
		if err != nil {
			t.Fatal(err)
		}
		return got.LastSeen
	}
	w.clock.Advance(30 * time.Minute)
	if p, err := w.m.Again(t.Context(), req()); err != nil || p.Member.ID != "ana" {
		t.Fatalf("Again = %v, %v", p, err)
	}
	if seen := stored(); !seen.Equal(rec.LastSeen) {
		t.Errorf("last seen moved to %v by a question", seen)
	}
	w.clock.Advance(31 * time.Minute) // idle by now
	if _, err := w.m.Again(t.Context(), req()); err != nil {
		t.Errorf("what is running ends at the absolute limit, not at the idle one: %v", err)
	}
	if _, err := w.m.Admit(t.Context(), req()); !errors.Is(err, session.ErrExpired) {
		t.Errorf("a new request after the idle limit: %v, want ErrExpired", err)
	}
	if err := w.cutoff.Barrier(t.Context(), w.dir.deactivate("ana")); err != nil {
		t.Fatal(err)
	}
	if _, err := w.m.Again(t.Context(), req()); !errors.Is(err, session.ErrRevoked) {
		t.Errorf("after a deactivation: %v, want ErrRevoked", err)
	}
}

// versioned are settings that somebody else may have changed.
type versioned struct {
	have    atomic.Int64
	reloads atomic.Int64
	fail    atomic.Bool
}

func (v *versioned) Version() int64 { return v.have.Load() }

func (v *versioned) Reload(_ context.Context, atLeast int64) error {
	v.reloads.Add(1)
	if v.fail.Load() {
		return errDown
	}
	v.have.Store(atLeast)
	return nil
}

func TestAnOlderCopyOfTheSettingsIsReloadedBeforeDeciding(t *testing.T) {
	w := newWorld(t) // C11
	v := &versioned{}
	w.manage(session.Limits{Idle: time.Hour, Absolute: 8 * time.Hour}, v)
	_, req := w.signIn(w.member("ana"))
	if _, err := w.m.Admit(t.Context(), req()); err != nil || v.reloads.Load() != 0 {
		t.Fatalf("with the current settings: %v, %d reloads", err, v.reloads.Load())
	}
	w.dir.mu.Lock()
	w.dir.settings = 7
	w.dir.mu.Unlock()
	v.fail.Store(true)
	w.log.add(member.Revocation{Kind: member.Recheck, Scope: member.ScopeAll})
	if err := w.cutoff.Barrier(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	if p, err := w.m.Admit(t.Context(), req()); p != nil || session.Reason(err) != "store_unavailable" {
		t.Errorf("settings that cannot be read: %v, %v; want an error that is no verdict", p, err)
	}
	v.fail.Store(false)
	if _, err := w.m.Admit(t.Context(), req()); err != nil || v.Version() != 7 {
		t.Errorf("after the reload: %v, version %d", err, v.Version())
	}
}

func TestARetiredCookieKeyOpensNothingNotEvenFromTheCache(t *testing.T) {
	w := newWorld(t) // K08
	_, old := w.signIn(w.member("ana"))
	w.leased(old)
	oldKey, newKey := bytes.Repeat([]byte{1}, 64), bytes.Repeat([]byte{2}, 64)
	if err := w.cookies.SetKeys(newKey, oldKey); err != nil {
		t.Fatal(err)
	}
	rec, fresh := w.signIn(w.member("ben"))
	w.leased(fresh)
	if _, err := w.m.Admit(t.Context(), old()); err != nil {
		t.Errorf("while both are accepted: %v", err)
	}
	if n := testutil.CollectAndCount(w.cookies); n != 2 {
		t.Errorf("%d keys are counted, want 2", n)
	}
	if err := w.cookies.SetKeys([]byte("short")); err == nil {
		t.Error("a short key was accepted")
	}
	if err := w.cookies.SetKeys(newKey); err != nil {
		t.Fatal(err)
	}
	if _, err := w.m.Admit(t.Context(), old()); !errors.Is(err, session.ErrBadCookie) {
		t.Errorf("the retired key's cookie, cached: %v, want ErrBadCookie", err)
	}
	if _, err := w.m.Admit(t.Context(), fresh()); err != nil {
		t.Errorf("the new key's cookie: %v", err)
	}
	// Only the cookie is gone; nothing was destroyed.
	if _, err := w.store.Get(t.Context(), rec.Hash); err != nil {
		t.Error(err)
	}
}

func TestIdleTimesAreWrittenInBatchesAndNeverBack(t *testing.T) {
	w := newWorld(t)
	rec, req := w.signIn(w.member("ana"))
	later := rec.LastSeen.Add(30 * time.Minute)
	if err := w.store.Touch(t.Context(), session.Used(rec.Hash, later)); err != nil { // another node
		t.Fatal(err)
	}
	w.clock.Advance(2 * time.Minute)
	if _, err := w.m.Admit(t.Context(), req()); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	w.m.RunTouches(ctx, discard()) // writes once more when it ends
	got, err := w.store.Get(t.Context(), rec.Hash)
	if err != nil || got.LastSeen.Before(later) || !got.Expires.Equal(rec.Expires) {
		t.Errorf("stored %+v, %v: last seen must not go back, nor the end move", got, err)
	}
}
