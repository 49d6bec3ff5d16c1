package machine_test

import (
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/machine"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
	"github.com/ssogate/ssogate/session/sessiontest"
	"github.com/ssogate/ssogate/store/sql"
)

var (
	errDown = errors.New("the database is down")
	here    = netip.MustParseAddr("192.0.2.7")
)

// site is a node with a real database that can be made to fail.
type site struct {
	*sql.DB
	t        *testing.T
	clock    *clock.Manual
	cutoff   *session.Cutoff
	admitter *machine.Admitter

	mu    sync.Mutex
	down  bool
	reads int
}

func (s *site) set(down bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = down
}

func (s *site) fails() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.down
}

// MachineToken implements machine.Tokens.
func (s *site) MachineToken(ctx context.Context, hash string) (machine.Token, int64, error) {
	s.mu.Lock()
	s.reads++
	s.mu.Unlock()
	if s.fails() {
		return machine.Token{}, 0, errDown
	}
	return s.DB.MachineToken(ctx, hash)
}

// UsedMachineTokens implements machine.Tokens.
func (s *site) UsedMachineTokens(ctx context.Context, uses []machine.Use) error {
	if s.fails() {
		return errDown
	}
	return s.DB.UsedMachineTokens(ctx, uses)
}

type streams struct {
	mu   sync.Mutex
	cuts []member.Revocation
}

func (s *streams) Cut(_ context.Context, r member.Revocation) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cuts = append(s.cuts, r)
}

func (s *streams) CutAll(context.Context, string) {}

func newSite(t *testing.T) (*site, *streams) {
	t.Helper()
	db, err := sql.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "test.db"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	s, cut := &site{DB: db, t: t, clock: &clock.Manual{}}, &streams{}
	s.cutoff, err = session.NewCutoff(t.Context(), session.CutoffOptions{
		Log: db, Registry: db, Finisher: db, Store: sessiontest.NewFake(nil), Streams: cut, LeaseGrace: time.Minute,
		Logger: slog.New(slog.DiscardHandler), Name: "this",
	})
	if err != nil {
		t.Fatal(err)
	}
	if s.admitter, err = machine.NewAdmitter(machine.Options{Tokens: s, Cutoff: s.cutoff, Now: s.clock.Now}); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.cutoff.Run(ctx) })
	t.Cleanup(func() { stop(); wg.Wait() })
	return s, cut
}

func (s *site) create(n machine.New) (string, machine.Token) {
	s.t.Helper()
	token, stored, err := machine.Create(s.t.Context(), s, n)
	if err != nil {
		s.t.Fatal(err)
	}
	return token, stored
}

// held waits until a token is held, by its effect: it is admitted without the database.
func (s *site) held(token string) {
	s.t.Helper()
	defer s.set(false)
	for range 1000 {
		s.set(false)
		if _, err := s.admitter.Admit(s.t.Context(), token, here); err != nil {
			s.t.Fatal(err)
		}
		s.set(true)
		if _, err := s.admitter.Admit(s.t.Context(), token, here); err == nil {
			return
		}
		time.Sleep(5 * time.Millisecond) // the lease runs on CLOCK_BOOTTIME, which no test can move
	}
	s.t.Fatal("never held")
}

func reason(err error) string {
	if no, ok := errors.AsType[*machine.RefusedError](err); ok {
		return no.Reason
	}
	return ""
}

// Row C01 for machines.
func TestOnlyALiveTokenIsAdmittedC01(t *testing.T) {
	s, _ := newSite(t)
	end := s.clock.Now().Add(time.Hour).UTC().Truncate(time.Millisecond)
	token, stored := s.create(machine.New{Name: "deploy", Routes: []string{"reports", "api", "api"}, Teams: []string{"ops"}, Creator: "cli:ana", Expires: end})
	p, err := s.admitter.Admit(t.Context(), token, here)
	if err != nil {
		t.Fatal(err)
	}
	if p.Subject() != "machine:deploy" || p.Actor() != "machine:deploy" || !slices.Equal(p.Machine.Routes, []string{"api", "reports"}) || !p.Has("ops") || p.Member.Admitted() || !p.Expires.Equal(end) {
		t.Errorf("%+v", p)
	}
	if strings.Contains(stored.Hash+stored.ID, token) || stored.Creator != "cli:ana" {
		t.Errorf("kept: %+v", stored)
	}
	reads := s.reads
	for what, bad := range map[string]string{
		"nothing": "", "its hash": stored.Hash, "its id": stored.ID, "cut": token[:len(token)-1], "longer": token + "A", "upper case": strings.ToUpper(token),
		"SCIM's label": "ssogate_scim_" + strings.TrimPrefix(token, "ssogate_machine_"), "the label alone": "ssogate_machine_",
	} {
		if _, err := s.admitter.Admit(t.Context(), bad, here); reason(err) != "token_unknown" {
			t.Errorf("%s: %v", what, err)
		}
	}
	if s.reads != reads {
		t.Error("the store was asked about what cannot be a token")
	}
	other := token[:len(token)-2] + map[bool]string{true: "BB", false: "AA"}[strings.HasSuffix(token, "AA")]
	if _, err := s.admitter.Admit(t.Context(), other, here); reason(err) != "token_unknown" {
		t.Errorf("another one of the right form: %v", err)
	}
	s.clock.Advance(59 * time.Minute)
	if _, err := s.admitter.Admit(t.Context(), token, here); err != nil {
		t.Errorf("before its end: %v", err)
	}
	s.clock.Advance(time.Minute)
	for what, ask := range map[string]func() (*session.Principal, error){
		"admit": func() (*session.Principal, error) { return s.admitter.Admit(t.Context(), token, here) },
		"again": func() (*session.Principal, error) { return s.admitter.Again(t.Context(), p) },
	} {
		if who, err := ask(); reason(err) != "token_expired" || who == nil || who.Subject() != "machine:deploy" {
			t.Errorf("%s at its end: %v, %v; the refusal should know whose it was", what, who, err)
		}
	}
}

// G1: after Revoke has answered, the token is nobody's, although it was held, and what
// ran with it has been cut.
func TestGuaranteeCutOffOfARevokedToken(t *testing.T) {
	s, cut := newSite(t)
	token, stored := s.create(machine.New{Name: "deploy", Routes: []string{"api"}})
	other, _ := s.create(machine.New{Name: "deploy", Routes: []string{"api"}})
	s.held(token)
	s.held(other)
	p, err := s.admitter.Admit(t.Context(), token, here)
	if err != nil {
		t.Fatal(err)
	}
	if err := machine.Revoke(t.Context(), s, s.cutoff, "cli:ana", stored.ID); err != nil {
		t.Fatal(err)
	}
	if _, err := s.admitter.Admit(t.Context(), token, here); reason(err) != "token_unknown" {
		t.Errorf("admitted after the revocation: %v", err)
	}
	if _, err := s.admitter.Again(t.Context(), p); reason(err) != "token_unknown" {
		t.Errorf("goes on after the revocation: %v", err)
	}
	cut.mu.Lock()
	if len(cut.cuts) != 1 || cut.cuts[0].Kind != member.End || cut.cuts[0].Target != p.Session.String() {
		t.Errorf("cut: %+v", cut.cuts)
	}
	cut.mu.Unlock()
	if _, err := s.admitter.Admit(t.Context(), other, here); err != nil {
		t.Errorf("the machine's other token: %v", err)
	}
	// A retry after an answer that was lost waits for the same row (C2).
	if err := machine.Revoke(t.Context(), s, s.cutoff, "cli:ana", stored.ID); err != nil {
		t.Errorf("again: %v", err)
	}
	if err := machine.Revoke(t.Context(), s, s.cutoff, "cli:ana", "nothing"); !errors.Is(err, member.ErrNotFound) {
		t.Errorf("one that never was: %v", err)
	}
	unconfirmed := revoker(func(int64) error { return session.ErrBarrier })
	if err := machine.Revoke(t.Context(), s, unconfirmed, "cli:ana", stored.ID); !errors.Is(err, session.ErrBarrier) {
		t.Errorf("not confirmed: %v; success would be a lie", err)
	}
}

type revoker func(int64) error

func (r revoker) Barrier(_ context.Context, seq int64) error { return r(seq) }

// G2: a store that cannot answer refuses nobody for good.
func TestStoreFailureIsNoVerdictAboutAToken(t *testing.T) {
	s, _ := newSite(t)
	token, _ := s.create(machine.New{Name: "deploy", Routes: []string{"api"}})
	p, err := s.admitter.Admit(t.Context(), token, here)
	if err != nil {
		t.Fatal(err)
	}
	fresh, _ := s.create(machine.New{Name: "new", Routes: []string{"api"}})
	s.set(true)
	if _, err := s.admitter.Admit(t.Context(), fresh, here); !errors.Is(err, errDown) || reason(err) != "" {
		t.Errorf("%v, want the store's error", err)
	}
	if _, err := s.admitter.Again(t.Context(), p); !errors.Is(err, errDown) || reason(err) != "" {
		t.Errorf("%v, want the store's error", err)
	}
	s.set(false)
	if _, err := s.admitter.Admit(t.Context(), fresh, here); err != nil {
		t.Errorf("afterwards: %v", err)
	}
}

func TestLastUseIsWrittenOnceAMinuteAndNeverRefuses(t *testing.T) {
	s, _ := newSite(t)
	token, stored := s.create(machine.New{Name: "deploy", Routes: []string{"api"}})
	use := func() {
		t.Helper()
		if _, err := s.admitter.Admit(t.Context(), token, here); err != nil {
			t.Fatal(err)
		}
	}
	last := func() time.Time {
		t.Helper()
		got, _, err := s.DB.MachineToken(t.Context(), stored.Hash)
		if err != nil {
			t.Fatal(err)
		}
		if !got.LastUsed.IsZero() && got.LastAddr != here.String() {
			t.Errorf("from %q", got.LastAddr)
		}
		return got.LastUsed
	}
	began := s.clock.Now().Truncate(time.Millisecond)
	use()
	if !last().IsZero() {
		t.Error("written within the request")
	}
	s.set(true)
	if err := s.admitter.Flush(t.Context()); !errors.Is(err, errDown) {
		t.Fatal(err)
	}
	s.set(false)
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	s.admitter.Run(ended) // as at the end of the process
	first := last()
	if first.Before(began) {
		t.Errorf("noted %v of a use after %v: what could not be written waits", first, began)
	}
	s.clock.Advance(30 * time.Second)
	use()
	if err := s.admitter.Flush(t.Context()); err != nil || !last().Equal(first) {
		t.Errorf("within the minute: %v, %v", last(), err)
	}
	s.clock.Advance(31 * time.Second)
	use()
	if err := s.admitter.Flush(t.Context()); err != nil || last().Before(first.Add(time.Minute)) {
		t.Errorf("a minute later: %v, %v", last(), err)
	}
}

func TestTokensThatCannotBeMade(t *testing.T) {
	s, _ := newSite(t)
	many := make([]string, 65)
	for i := range many {
		many[i] = "r" + strings.Repeat("x", i)
	}
	for what, n := range map[string]machine.New{
		"no name":                          {Routes: []string{"api"}},
		"a name that an issuer could give": {Name: "ci/deploy", Routes: []string{"api"}},
		"a name with a space":              {Name: "a b", Routes: []string{"api"}},
		"a name in upper case":             {Name: "Deploy", Routes: []string{"api"}},
		"a long name":                      {Name: strings.Repeat("a", 64), Routes: []string{"api"}},
		"no route":                         {Name: "deploy", Teams: []string{"ops"}},
		"a route that would be two":        {Name: "deploy", Routes: []string{"api admin"}},
		"an empty route":                   {Name: "deploy", Routes: []string{""}},
		"a team that would be two":         {Name: "deploy", Routes: []string{"api"}, Teams: []string{"a\nb"}},
		"too many routes":                  {Name: "deploy", Routes: many},
		"an end that has come":             {Name: "deploy", Routes: []string{"api"}, Expires: time.Now().Add(-time.Second)},
	} {
		if token, _, err := machine.Create(t.Context(), s, n); !errors.Is(err, machine.ErrInvalid) || token != "" {
			t.Errorf("%s: %v", what, err)
		}
	}
	if list, err := s.ListMachineTokens(t.Context()); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
	if _, err := machine.NewAdmitter(machine.Options{}); err == nil {
		t.Error("an admitter of nothing")
	}
}

func TestVouchedMachineHasANameThatNoTokenHas(t *testing.T) {
	s, _ := newSite(t)
	p := s.admitter.Vouched(machine.Vouched{Hash: secret.Sum("jwt"), Issuer: "ci", Subject: "deploy", Teams: []string{"ops"}, Expires: s.clock.Now().Add(time.Minute)})
	if p.Subject() != "machine:ci/deploy" || p.Machine.Issuer != "ci" || p.Machine.Routes != nil || p.Member.Admitted() || !p.Has("ops") || p.Expires.IsZero() {
		t.Errorf("%+v %+v", p, p.Machine)
	}
}

// No unaudited change, and nothing secret in an event.
func TestTokensAreAudited(t *testing.T) {
	s, _ := newSite(t)
	token, stored := s.create(machine.New{Name: "deploy", Routes: []string{"api"}, Teams: []string{"ops"}, Creator: "cli:ana"})
	var gone audit.Event
	if _, err := s.RevokeMachineToken(t.Context(), stored.ID, func(m machine.Token) audit.Event {
		gone = audit.Event{Kind: "x", Outcome: audit.Allowed, Target: m.Name}
		return gone
	}); err != nil || gone.Target != "deploy" {
		t.Errorf("%+v, %v", gone, err)
	}
	if n, err := s.VerifyAudit(t.Context()); err != nil || n != 2 {
		t.Errorf("%d events, %v", n, err)
	}
	if strings.Contains(stored.ID+stored.Name, token) {
		t.Error("the token is in what is kept")
	}
}
