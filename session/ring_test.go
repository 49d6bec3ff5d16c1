package session_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
)

// keyStore is the table of cookie keys in memory. store/sql is tested with the
// same ring on both engines.
type keyStore struct {
	mu    sync.Mutex
	keys  []session.StoredKey
	reads int
	fail  error
	seq   int64
	clock *clock.Manual
}

func (s *keyStore) at(state session.KeyState) int {
	return slices.IndexFunc(s.keys, func(k session.StoredKey) bool { return k.State == state })
}

func (s *keyStore) CookieKeys(context.Context) ([]session.StoredKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads++
	return slices.Clone(s.keys), s.fail
}

func (s *keyStore) ProposeCookieKey(_ context.Context, _ member.Actor, k session.StoredKey) (string, int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq++
	if i := s.at(session.KeyNext); i >= 0 {
		return s.keys[i].ID, s.seq, nil
	}
	s.keys = append(s.keys, k)
	return k.ID, s.seq, nil
}

func (s *keyStore) UseCookieKey(_ context.Context, _ member.Actor, id string, config []string) (int64, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seq++
	next := s.at(session.KeyNext)
	if next < 0 || s.keys[next].ID != id {
		return 0, member.ErrNotFound
	}
	if i := s.at(session.KeyCurrent); i >= 0 {
		s.keys[i].State, s.keys[i].Changed = session.KeyPrevious, s.clock.Now()
	}
	s.keys[next].State = session.KeyCurrent
	for _, c := range config {
		if !slices.ContainsFunc(s.keys, func(k session.StoredKey) bool { return k.ID == c }) {
			s.keys = append(s.keys, session.StoredKey{ID: c, State: session.KeyPrevious, Changed: s.clock.Now()})
		}
	}
	return s.seq, nil
}

func (s *keyStore) RetireCookieKeys(_ context.Context, _ member.Actor, _ []string, before time.Time) (ids []string, seq int64, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, k := range s.keys {
		if k.State == session.KeyPrevious && !k.Changed.After(before) {
			s.keys[i].State, s.keys[i].Sealed = session.KeyRetired, nil
			ids = append(ids, k.ID)
		}
	}
	s.seq++
	return ids, s.seq, nil
}

// nodes confirm by doing what do says.
type nodes struct{ do func() error }

func (n nodes) Barrier(context.Context, int64) error { return nil }
func (n nodes) Confirm(context.Context, int64) error { return n.do() }

var configKey = bytes.Repeat([]byte{7}, 64)

func newRing(t testing.TB) (*session.KeyRing, *keyStore) {
	t.Helper()
	sealer, err := secret.NewSealer(bytes.Repeat([]byte{9}, 32))
	if err != nil {
		t.Fatal(err)
	}
	store := &keyStore{clock: &clock.Manual{}}
	return &session.KeyRing{Store: store, Sealer: sealer, Config: [][]byte{configKey}, Absolute: 24 * time.Hour, Now: store.clock.Now}, store
}

// cookiesOf are a node's cookies with the keys as they are now.
func cookiesOf(t testing.TB, r *session.KeyRing, follow bool) *session.Cookies {
	t.Helper()
	keys, err := r.Load(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	c, err := session.NewCookies(true, keys...)
	if err != nil {
		t.Fatal(err)
	}
	if follow {
		c.Follow(r.Load)
	}
	return c
}

// bind has one node make a binding cookie and answers a request that carries it.
func bind(t testing.TB, c *session.Cookies) *http.Request {
	t.Helper()
	rr := httptest.NewRecorder()
	if _, err := c.Binding(rr, httptest.NewRequest("GET", "https://app.example.com/", nil), session.App); err != nil {
		t.Fatal(err)
	}
	r := httptest.NewRequest("GET", "https://app.example.com/", nil)
	r.AddCookie(rr.Result().Cookies()[0])
	return r
}

// K08 and fault 21: while a key is rotated, any node makes cookies and any node
// reads them, in any order; nobody is refused. Two rules see to that, and each
// alone is enough here: no node uses a key that another does not accept, and a
// node that meets an unknown key looks again. Without both somebody is refused,
// or this test would show nothing.
func TestCookieKeyRotationRefusesNobodyOnAnyNode(t *testing.T) {
	for _, tt := range []struct {
		why             string
		confirm, follow bool
		refuses         bool
	}{
		{"both rules", true, true, false},
		{"all nodes confirm", true, false, false},
		{"a node that was away looks again", false, true, false},
		{"neither", false, false, true},
	} {
		t.Run(tt.why, func(t *testing.T) {
			refused := 0
			for round := range uint64(100) {
				refused += rotation(t, rand.New(rand.NewPCG(round, 1)), tt.confirm, tt.follow) //nolint:gosec // a test's schedule
			}
			if (refused > 0) != tt.refuses {
				t.Errorf("%d cookies were refused", refused)
			}
		})
	}
}

// rotation plays one rotation over three nodes and answers how many cookies were refused.
func rotation(t *testing.T, rnd *rand.Rand, confirm, follow bool) (refused int) {
	ring, store := newRing(t)
	var all []*session.Cookies
	for range 3 {
		all = append(all, cookiesOf(t, ring, follow))
	}
	reload := func(c *session.Cookies) {
		keys, err := ring.Load(t.Context())
		if err == nil {
			err = c.SetKeys(keys...)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	traffic := func() {
		for range rnd.IntN(4) {
			r := bind(t, all[rnd.IntN(3)])
			if _, ok := all[rnd.IntN(3)].Bound(r, session.App); !ok {
				refused++
			}
		}
	}
	acknowledge := func() error {
		for _, i := range rnd.Perm(3) {
			traffic()
			if confirm {
				reload(all[i])
			}
		}
		return nil
	}
	before := bind(t, all[0])
	if _, err := ring.Rotate(t.Context(), member.Actor{}, nodes{acknowledge}); err != nil {
		t.Fatal(err)
	}
	for _, i := range rnd.Perm(3) { // the second row reaches them one by one
		traffic()
		reload(all[i])
	}
	for i, c := range all {
		if _, ok := c.Bound(before, session.App); !ok {
			t.Fatalf("node %d refuses a cookie from before", i)
		}
	}
	if used := all[0].KeyIDs()[0]; used == secret.KeyID(configKey) || store.keys[store.at(session.KeyCurrent)].ID != used {
		t.Fatalf("the new key is not in use: %s", used)
	}
	return refused
}

// K08: a node that does not confirm stops the rotation; the key is accepted and
// not used, and the next try goes on with the same one.
func TestRotationStopsAtANodeThatDoesNotConfirmAndGoesOnLater(t *testing.T) {
	ring, store := newRing(t)
	away := &session.UnconfirmedError{Nodes: []string{"gate-2"}}
	_, err := ring.Rotate(t.Context(), member.Actor{}, nodes{func() error { return away }})
	if un, ok := errors.AsType[*session.UnconfirmedError](err); !ok || un.Nodes[0] != "gate-2" {
		t.Fatalf("err %v", err)
	}
	c := cookiesOf(t, ring, false)
	next := store.keys[store.at(session.KeyNext)].ID
	if ids := c.KeyIDs(); ids[0] != secret.KeyID(configKey) || !slices.Contains(ids, next) {
		t.Fatalf("after a node did not confirm: %v", ids)
	}
	if id, err := ring.Rotate(t.Context(), member.Actor{}, nodes{func() error { return nil }}); err != nil || id != next {
		t.Fatalf("second try: %s %v, want %s", id, err, next)
	}
}

// K08, fault 21: the key before stays accepted for as long as a cookie of it may
// be good, and not a moment longer.
func TestRetiredKeyIsAcceptedUntilItsLastSessionHasEnded(t *testing.T) {
	ring, store := newRing(t)
	old := bind(t, cookiesOf(t, ring, false))
	if _, err := ring.Rotate(t.Context(), member.Actor{}, nodes{func() error { return nil }}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		after time.Duration
		good  bool
	}{{24*time.Hour - time.Millisecond, true}, {time.Millisecond, false}} {
		store.clock.Advance(tt.after)
		if ids, err := ring.Retire(t.Context()); err != nil || (len(ids) == 0) != tt.good {
			t.Fatalf("retired %v %v", ids, err)
		}
		if _, ok := cookiesOf(t, ring, false).Bound(old, session.App); ok != tt.good {
			t.Errorf("%v later: accepted is %v", tt.after, ok)
		}
	}
	ring.Absolute = time.Minute // a sign-in under way lasts longer than such a session
	if ring.Keep() != time.Hour {
		t.Errorf("keeps a key for %v", ring.Keep())
	}
}

// An entry that cannot be read is never left out: the others may use it.
func TestUnreadableKeyIsAnErrorThatNamesWhatToDo(t *testing.T) {
	ring, store := newRing(t)
	if _, err := ring.Rotate(t.Context(), member.Actor{}, nodes{func() error { return nil }}); err != nil {
		t.Fatal(err)
	}
	id := store.keys[store.at(session.KeyCurrent)].ID
	other, err := secret.NewSealer(bytes.Repeat([]byte{8}, 32))
	if err != nil {
		t.Fatal(err)
	}
	good := ring.Sealer
	ring.Sealer = other
	_, err = ring.Load(t.Context())
	if un, ok := errors.AsType[*session.UnreadableKeyError](err); !ok || un.ID != id {
		t.Fatalf("err %v", err)
	}
	if _, err := ring.Rotate(t.Context(), member.Actor{}, nodes{}); err == nil || store.at(session.KeyNext) >= 0 {
		t.Errorf("a process that cannot read the ring changed it: %v", err)
	}
	ring.Sealer = good
	store.keys[store.at(session.KeyCurrent)].ID = "0123456789abcdef"
	if _, err := ring.Load(t.Context()); err == nil {
		t.Error("a value moved to another row was believed")
	}
}

// Rubbish must not make a node ask the database more than once a second, and a
// database that is down must not look like a bad cookie (G2).
func TestUnknownCookieLooksAgainAtMostOnceASecond(t *testing.T) {
	ring, store := newRing(t)
	w := newWorld(t)
	ana := w.member("ana")
	c := cookiesOf(t, ring, true)
	m, err := session.NewManager(session.ManagerOptions{
		Store: w.store, Directory: w.dir, Cookies: c, Cutoff: w.cutoff, Now: w.clock.Now,
		Limits: session.Limits{Idle: time.Hour, Absolute: time.Hour}, ProviderActive: func(string) bool { return true },
	})
	if err != nil {
		t.Fatal(err)
	}
	id, _, err := m.Start(t.Context(), session.Start{Member: ana, Provider: "okta"})
	if err != nil {
		t.Fatal(err)
	}
	good := func(c *session.Cookies) *http.Request {
		rr := httptest.NewRecorder()
		if err := c.SetSession(rr, session.App, "app.example.com", id); err != nil {
			t.Fatal(err)
		}
		r := httptest.NewRequest("GET", "https://app.example.com/", nil)
		r.AddCookie(rr.Result().Cookies()[0])
		return r
	}
	rubbish := func(i int) *http.Request {
		r := httptest.NewRequest("GET", "https://app.example.com/", nil)
		r.Header.Set("Cookie", fmt.Sprintf("__Host-ssogate-app-session=rubbish%d", i))
		return r
	}
	store.reads = 0
	store.fail = errDown
	if _, err := m.Admit(t.Context(), good(w.cookies)); !errors.Is(err, errDown) || errors.Is(err, session.ErrBadCookie) {
		t.Errorf("the keys cannot be read: %v; it must not be known whether the cookie is good", err)
	}
	store.fail = nil
	if _, err := m.Admit(t.Context(), good(c)); err != nil {
		t.Errorf("a cookie of a known key while that is so: %v", err)
	}
	begin := time.Now()
	for i := range 200 {
		_, _ = m.Admit(t.Context(), rubbish(i))
	}
	if limit := 2 + int(time.Since(begin)/time.Second); store.reads > limit {
		t.Errorf("%d reads of the keys, want at most %d", store.reads, limit)
	}
	eventually(t, "rubbish is refused once the keys can be read", func() bool {
		_, err := m.Admit(t.Context(), rubbish(0))
		return errors.Is(err, session.ErrBadCookie)
	})
}

// Confirm counts acknowledgements, never time; Barrier does count time.
func TestConfirmNamesTheNodeThatHasNotAcknowledged(t *testing.T) {
	for _, tt := range []struct {
		why  string
		node session.Node
		want bool
	}{
		{"has acknowledged", session.Node{ID: "b", Name: "gate-2", Applied: 7}, true},
		{"calls and does not acknowledge", session.Node{ID: "b", Name: "gate-2", Applied: 6}, false},
	} {
		t.Run(tt.why, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 1200*time.Millisecond) // longer than a lease
			defer cancel()
			p := session.NewPublisher(&registryOf{nodes: []session.Node{{ID: "a", Name: "gate-1", Applied: 9}, tt.node}}, nil)
			err := p.Confirm(ctx, 7)
			un, ok := errors.AsType[*session.UnconfirmedError](err)
			if tt.want && err != nil || !tt.want && (!ok || !slices.Equal(un.Nodes, []string{"gate-2"})) {
				t.Errorf("%v", err)
			}
		})
	}
}

// A silent node does not stop a rotation for ever: it is expelled.
func TestConfirmExpelsASilentNode(t *testing.T) {
	r := &registryOf{nodes: []session.Node{{ID: "b", Name: "gate-2", Applied: 6}}, expels: true}
	if err := session.NewPublisher(r, nil).Confirm(t.Context(), 7); err != nil {
		t.Errorf("%v", err)
	}
}

// registryOf is a registry that says what it is told to.
type registryOf struct {
	mu     sync.Mutex
	nodes  []session.Node
	expels bool
}

func (r *registryOf) Join(context.Context, session.Node) error { return nil }
func (r *registryOf) Leave(context.Context, string) error      { return nil }

func (r *registryOf) Nodes(context.Context) ([]session.Node, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.nodes), nil
}

func (r *registryOf) Expel(context.Context, time.Duration) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.expels {
		r.nodes = nil
	}
	return 0, nil
}

func TestNodeKeysSurviveTheRegistry(t *testing.T) {
	for _, k := range []session.NodeKeys{
		{}, {Cookie: []string{"a1"}, Seal: []string{"b1"}}, {Cookie: []string{"a1", "a2"}, Seal: []string{"b1", "b2"}},
	} {
		if got := session.ParseNodeKeys(k.String()); fmt.Sprint(got) != fmt.Sprint(k) {
			t.Errorf("%q is read as %v", k.String(), got)
		}
	}
	if got := session.ParseNodeKeys("later=x seal=b1 junk"); len(got.Cookie) != 0 || !slices.Equal(got.Seal, []string{"b1"}) {
		t.Errorf("of a later version: %v", got)
	}
}
