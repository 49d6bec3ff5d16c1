package session

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
)

// Directory is what the Manager asks about members. *member.Directory is the real one.
type Directory interface {
	Snapshot(ctx context.Context, id member.ID, sessionHash string) (member.Snapshot, error)
	EndSession(ctx context.Context, by member.Actor, s member.EndedSession) error
	EndSessions(ctx context.Context, by member.Actor, id member.ID, reason string) error
}

// Limits of a session.
type Limits struct {
	Idle     time.Duration // without a request
	Absolute time.Duration // from sign-in, whatever happens
}

// Manager starts, admits and ends sessions. Safe for concurrent use.
type Manager struct {
	store    Store
	dir      Directory
	cookies  *Cookies
	cutoff   *Cutoff
	limits   Limits
	now      clock.Func
	provider func(id string) bool
	touches  touches
}

// ManagerOptions are what a Manager works with; all but Now are required.
type ManagerOptions struct {
	Store     Store
	Directory Directory
	Cookies   *Cookies
	Cutoff    *Cutoff
	Limits    Limits
	Now       clock.Func
	// ProviderActive says whether sessions made through a provider still count.
	ProviderActive func(id string) bool
}

// NewManager makes a Manager.
func NewManager(o ManagerOptions) (*Manager, error) {
	if o.Store == nil || o.Directory == nil || o.Cookies == nil || o.Cutoff == nil || o.ProviderActive == nil {
		return nil, errors.New("session: manager needs store, directory, cookies, cutoff and providers")
	}
	if o.Limits.Idle <= 0 || o.Limits.Absolute <= 0 {
		return nil, errors.New("session: idle and absolute limits must be positive")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	return &Manager{
		store: o.Store, dir: o.Directory, cookies: o.Cookies, cutoff: o.Cutoff,
		limits: o.Limits, now: steady(o.Now, bootTime), provider: o.ProviderActive,
		touches: touches{m: map[secret.Hash]time.Time{}},
	}, nil
}

// Admit answers who a request to an app origin comes from. Errors: ErrNoCookie,
// ErrBadCookie, ErrExpired, ErrRevoked, ErrMember; anything else means it cannot
// be known now (503) and says nothing about the session.
func (m *Manager) Admit(ctx context.Context, r *http.Request) (*Principal, error) {
	return m.admit(ctx, r, App)
}

// AdmitGateway is Admit for ssogate's own pages.
func (m *Manager) AdmitGateway(ctx context.Context, r *http.Request) (*Principal, error) {
	return m.admit(ctx, r, Gateway)
}

func (m *Manager) admit(ctx context.Context, r *http.Request, d Door) (*Principal, error) {
	value, err := m.cookies.read(r, m.cookies.name(d, "session"))
	if err != nil {
		return nil, err
	}
	key := cacheKey{door: d, host: Host(r.Host), value: value}
	// The applied number is taken before any read, so that a revocation applied
	// while reading makes the result stale rather than slipping under it (C3).
	asOf := m.cutoff.Applied()
	gen, leased := m.cutoff.lease.held()
	if leased {
		if p, err := m.hit(key, gen); p != nil || err != nil {
			return p, err
		}
	}
	// What the cache knows of the last use outlives its lease: a session in use
	// must not look idle because its principal had to be read again.
	var used time.Time
	if e := m.cutoff.cache.get(key); e != nil {
		used = time.UnixMilli(e.seen.Load())
	}
	token, err := m.cookies.open(d, "session", r.Host, value)
	if err != nil {
		return nil, err
	}
	p, seen, err := m.load(ctx, secret.Sum(token), asOf, used)
	// A row applied while we were reading makes the result stale. It may say "ended"
	// or only "other teams": read again to know which. Bounded, because a
	// bulk change of teams can go on for as long as it likes.
	for range maxRereads {
		if err != nil || m.Still(p) {
			break
		}
		asOf = m.cutoff.Applied()
		gen, leased = m.cutoff.lease.held()
		p, seen, err = m.load(ctx, secret.Sum(token), asOf, used)
	}
	if err != nil {
		return nil, err
	}
	if !m.Still(p) {
		return nil, errors.New("session: principal kept changing while it was read")
	}
	at := m.now()
	if at.Sub(seen) >= touchEvery {
		m.touches.note(p.Session, at)
		seen = at
	}
	if now, ok := m.cutoff.lease.held(); leased && ok && now == gen {
		e := &cached{p: p, gen: gen}
		e.seen.Store(at.UnixMilli())
		e.noted.Store(seen.UnixMilli())
		m.cutoff.cache.put(key, e)
	}
	return p, nil
}

// hit answers from the cache, or (nil, nil) when it has nothing usable.
func (m *Manager) hit(key cacheKey, gen int64) (*Principal, error) {
	e := m.cutoff.cache.get(key)
	if e == nil {
		return nil, nil
	}
	if e.gen != gen || !m.cutoff.floors.fresh(e.p) || !m.provider(e.p.Provider) {
		return nil, nil // stale: read again; put replaces it
	}
	now := m.now()
	seen := time.UnixMilli(e.seen.Load())
	if !now.Before(e.p.Expires) {
		m.cutoff.cache.remove(key)
		return nil, ErrExpired
	}
	if now.Sub(seen) > m.limits.Idle {
		// This cookie was not used for long. The session may have been, through
		// the cookie of another origin: ask the store.
		return nil, nil
	}
	if now.After(seen) {
		e.seen.Store(now.UnixMilli())
	}
	// One note per session and minute, whoever wins the swap.
	if noted := e.noted.Load(); now.UnixMilli()-noted >= touchEvery.Milliseconds() && e.noted.CompareAndSwap(noted, now.UnixMilli()) {
		m.touches.note(e.p.Session, now)
	}
	return e.p, nil
}

// load is the uncached read: session store, then everything about the member in
// one snapshot (C11), which also tells whether this very session was ended (C6).
func (m *Manager) load(ctx context.Context, h secret.Hash, asOf int64, used time.Time) (*Principal, time.Time, error) {
	rec, err := m.store.Get(ctx, h)
	switch {
	case errors.Is(err, ErrNotFound):
		return nil, time.Time{}, ErrRevoked
	case err != nil:
		return nil, time.Time{}, fmt.Errorf("session: read: %w", err)
	}
	now := m.now()
	seen := m.touches.latest(h, rec.LastSeen)
	if used.After(seen) {
		seen = used
	}
	if !now.Before(rec.Expires) || now.Sub(seen) > m.limits.Idle {
		return nil, time.Time{}, ErrExpired
	}
	snap, err := m.dir.Snapshot(ctx, rec.Member, h.String())
	switch {
	case errors.Is(err, member.ErrNotFound):
		return nil, time.Time{}, ErrRevoked
	case err != nil:
		return nil, time.Time{}, fmt.Errorf("session: read member: %w", err)
	case snap.SessionEnded, snap.Member.Epoch != rec.Epoch, !m.provider(rec.Provider):
		return nil, time.Time{}, ErrRevoked
	case !snap.Member.Admitted():
		return nil, time.Time{}, ErrMember
	}
	snap.Member.Document = nil
	return &Principal{
		Session: h, Member: snap.Member, Teams: snap.Teams, Provider: rec.Provider,
		Issued: rec.Issued, Expires: rec.Expires,
		// The snapshot shows every row up to its own number, which is never below
		// what was applied before the read began. Without it nobody could be admitted
		// while a row is being applied, not even to be re-checked for that row.
		asOf: max(asOf, snap.Seq),
	}, seen, nil
}

// Still re-checks a principal after its request was registered, and again
// before a retry or an upgrade (C10).
func (m *Manager) Still(p *Principal) bool { return p != nil && m.cutoff.floors.fresh(p) }

// IsOurCookie reports whether a cookie name is, or could pass for, ssogate's.
func (m *Manager) IsOurCookie(name string) bool { return m.cookies.IsOurs(name) }

// Cookies are the cookies of this Manager.
func (m *Manager) Cookies() *Cookies { return m.cookies }

// Token answers the session id in the gateway cookie of r, so that it can be
// handed to an app origin. Call it only for a request that was admitted.
func (m *Manager) Token(r *http.Request) (string, error) {
	v, err := m.cookies.read(r, m.cookies.name(Gateway, "session"))
	if err != nil {
		return "", err
	}
	return m.cookies.open(Gateway, "session", r.Host, v)
}

// Good reports whether the session with this id would be admitted now, by a read
// of its own. Errors are those of Admit.
func (m *Manager) Good(ctx context.Context, id string) error {
	_, _, err := m.load(ctx, secret.Sum(id), m.cutoff.Applied(), time.Time{})
	return err
}

// Start describes a new session.
type Start struct {
	Member       member.Member // as Directory.Admit returned it: its Epoch is stamped (C6)
	Provider     string
	SessionIndex string
	NotAfter     time.Time // SessionNotOnOrAfter; zero = no cap
	Address      string
	UserAgent    string
}

// maxRereads bounds how often one request reads its principal again.
const maxRereads = 4

// maxUserAgent bounds what is kept of a User-Agent.
const maxUserAgent = 256

// Start makes a session with a fresh id (row K01) and returns the id, which goes
// into cookies and nowhere else. A deactivation that commits between Admit and
// Start has raised the member's epoch: the session is then never admitted.
func (m *Manager) Start(ctx context.Context, s Start) (id string, rec Record, err error) {
	if !s.Member.Admitted() {
		return "", Record{}, ErrMember
	}
	id = secret.NewToken()
	now := m.now().UTC().Truncate(time.Millisecond)
	end := now.Add(m.limits.Absolute)
	if !s.NotAfter.IsZero() && s.NotAfter.Before(end) {
		end = s.NotAfter.UTC().Truncate(time.Millisecond)
	}
	rec = Record{
		Version: RecordVersion, Hash: secret.Sum(id), Member: s.Member.ID, Epoch: s.Member.Epoch,
		Provider: s.Provider, SessionIndex: s.SessionIndex, Issued: now, LastSeen: now, Expires: end,
		Address: s.Address, UserAgent: s.UserAgent[:min(len(s.UserAgent), maxUserAgent)],
	}
	if err := m.store.Create(ctx, rec); err != nil {
		return "", Record{}, fmt.Errorf("session: start: %w", err)
	}
	return id, rec, nil
}

// End ends the session of p everywhere: its cookies on every origin point at
// nothing, requests in flight and streams are cut, and no node admits it again.
// It returns nil only when that is true (G1).
func (m *Manager) End(ctx context.Context, by member.Actor, p *Principal, reason string) error {
	err := m.dir.EndSession(ctx, by, member.EndedSession{
		Hash: p.Session.String(), Member: p.Member.ID, Until: p.Expires, Reason: reason,
	})
	if err != nil {
		return fmt.Errorf("session: end: %w", err)
	}
	return nil
}

// EndAll is "sign out everywhere".
func (m *Manager) EndAll(ctx context.Context, by member.Actor, id member.ID, reason string) error {
	if err := m.dir.EndSessions(ctx, by, id, reason); err != nil {
		return fmt.Errorf("session: end all: %w", err)
	}
	return nil
}
