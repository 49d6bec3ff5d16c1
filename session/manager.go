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
	Snapshot(ctx context.Context, id member.ID, ref member.SessionRef) (member.Snapshot, error)
	EndSession(ctx context.Context, by member.Actor, s member.EndedSession) error
	EndSessions(ctx context.Context, by member.Actor, id member.ID, reason string) error
}

// Settings are the live settings as this node holds them (C11).
type Settings interface {
	Version() int64
	// Reload reads them anew; afterwards Version is at least the one asked for, or
	// there is an error.
	Reload(ctx context.Context, atLeast int64) error
}

// Limits of a session.
type Limits struct {
	Idle      time.Duration // without a request
	Absolute  time.Duration // from sign-in, whatever happens
	PerMember int           // sessions of one member at once; the oldest ends for one more. 0: no limit
}

// Manager starts, admits and ends sessions. Safe for concurrent use.
type Manager struct {
	Lister
	cookies  *Cookies
	cutoff   *Cutoff
	limits   Limits
	provider func(id string) bool // see ours
	fallback bool
	settings Settings
	flights  flights
	steady   *steadyClock // whose now Lister asks
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
	// Fallback makes a Manager for the sessions of fallback owners and for nothing
	// else. Its Store must be SQL, so that they work while Redis is down.
	Fallback bool
	// Settings are what ProviderActive and the policies read; nil when they never change.
	Settings Settings
}

// NewManager makes a Manager.
func NewManager(o ManagerOptions) (*Manager, error) {
	if o.Store == nil || o.Directory == nil || o.Cookies == nil || o.Cutoff == nil || o.ProviderActive == nil {
		return nil, errors.New("session: manager needs store, directory, cookies, cutoff and providers")
	}
	if o.Limits.Idle <= 0 || o.Limits.Absolute <= 0 || o.Limits.PerMember < 0 {
		return nil, errors.New("session: idle and absolute limits must be positive")
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	steady := newSteady(o.Now, bootTime)
	return &Manager{
		Lister:  *newLister(o.Store, o.Directory, o.Limits.Idle, steady.now),
		steady:  steady,
		cookies: o.Cookies, cutoff: o.Cutoff, limits: o.Limits, provider: o.ProviderActive, settings: o.Settings, fallback: o.Fallback,
	}, nil
}

// Admit answers who a request to an app origin comes from. Errors: ErrNoCookie,
// ErrBadCookie, ErrExpired, ErrRevoked, ErrMember; anything else means it cannot
// be known now (503) and says nothing about the session.
func (m *Manager) Admit(ctx context.Context, r *http.Request) (*Principal, error) {
	if m.fallback {
		return nil, ErrNoCookie
	}
	return m.admit(ctx, r, App)
}

// AdmitGateway is Admit for ssogate's own pages.
func (m *Manager) AdmitGateway(ctx context.Context, r *http.Request) (*Principal, error) {
	return m.admit(ctx, r, m.gateway())
}

// Again answers who an exchange on an app origin belongs to that was admitted
// before and still runs. It is no use of the session: other people's changes of
// teams must not keep one alive whose person has gone home (K06). Nor does the
// idle limit end what is running; the absolute one does. Errors are those of Admit.
func (m *Manager) Again(ctx context.Context, r *http.Request) (*Principal, error) {
	value, err := m.cookies.read(r, m.cookies.name(App, "session"))
	if err != nil {
		return nil, err
	}
	token, _, err := m.cookies.open(ctx, App, "session", Host(r.Host), value)
	if err != nil {
		return nil, err
	}
	for range maxRereads + 1 {
		p, _, err := m.load(ctx, secret.Sum(token), m.cutoff.Applied(), m.now())
		if err != nil {
			return nil, err
		}
		if m.Still(p) {
			return p, nil
		}
	}
	return nil, errChanging
}

func (m *Manager) admit(ctx context.Context, r *http.Request, d Door) (*Principal, error) {
	value, err := m.cookies.read(r, m.cookies.name(d, "session"))
	if err != nil {
		return nil, err
	}
	host := Host(r.Host)
	key := keyOf(d, host, value)
	if gen, now, leased := m.cutoff.lease.heldAt(); leased {
		if p, err := m.hit(key, gen, m.steady.at(now.boot)); p != nil || err != nil {
			return p, err
		}
	}
	// What the cache knows of the last use outlives its lease: a session in use
	// must not look idle because its principal had to be read again.
	var used time.Time
	if e := m.cutoff.cache.get(key); e != nil {
		used = time.UnixMilli(e.seen.Load())
	}
	token, made, err := m.cookies.open(ctx, d, "session", host, value)
	if err != nil {
		return nil, err
	}
	f, err := m.read(ctx, secret.Sum(token), used)
	if err != nil {
		return nil, err
	}
	at := m.now()
	if at.Sub(f.seen) >= touchEvery {
		m.touches.note(f.p.Session, at)
		f.seen = at
	}
	if now, ok := m.cutoff.lease.held(); f.leased && ok && now == f.gen && made.accepted.Load() {
		e := &cached{p: f.p, gen: f.gen, key: made}
		e.seen.Store(at.UnixMilli())
		e.noted.Store(f.seen.UnixMilli())
		m.cutoff.cache.put(key, e)
	}
	return f.p, nil
}

// hit answers from the cache, or (nil, nil) when it has nothing usable.
func (m *Manager) hit(key cacheKey, gen int64, now time.Time) (*Principal, error) {
	e := m.cutoff.cache.get(key)
	if e == nil {
		return nil, nil
	}
	if !m.usable(e, gen) {
		return nil, nil // stale: read again; put replaces it
	}
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

// usable reports whether a cached principal may be a hit under a lease.
func (m *Manager) usable(e *cached, gen int64) bool {
	return e.gen == gen && e.key.accepted.Load() && m.cutoff.floors.fresh(e.p) && m.ours(e.p.Provider)
}

// load is the uncached read: session store, then everything about the member in
// one snapshot (C11), which also tells whether this very session was ended (C6).
// asOf is the applied number from before any read (C3).
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
	snap, err := m.dir.Snapshot(ctx, rec.Member, rec.ref())
	switch {
	case errors.Is(err, member.ErrNotFound):
		return nil, time.Time{}, ErrRevoked
	case err != nil:
		return nil, time.Time{}, fmt.Errorf("session: read member: %w", err)
	}
	if m.settings != nil && snap.Settings > m.settings.Version() {
		// Somebody was let in or kept out by settings that this node has not seen.
		if err := m.settings.Reload(ctx, snap.Settings); err != nil {
			return nil, time.Time{}, fmt.Errorf("session: reload settings: %w", err)
		}
	}
	switch {
	case dead(rec, snap), !m.ours(rec.Provider):
		return nil, time.Time{}, ErrRevoked
	case !snap.Member.Admitted():
		return nil, time.Time{}, ErrMember
	}
	snap.Member.Document = nil
	p := &Principal{
		Session: h, Member: snap.Member, Teams: snap.Teams, Provider: rec.Provider, Index: rec.SessionIndex,
		Issued: rec.Issued, AuthTime: rec.AuthTime, Expires: rec.Expires, Seq: rec.Seq,
		// The snapshot shows every row up to its own number, which is never below
		// what was applied before the read began. Without it nobody could be admitted
		// while a row is being applied, not even to be re-checked for that row.
		asOf: max(asOf, snap.Seq),
	}
	return p.Remember(), seen, nil
}

// dead reports whether something ended this very session, or everything its
// member or provider had at the time (C6).
func dead(rec Record, snap member.Snapshot) bool {
	return snap.SessionEnded || snap.Member.Epoch != rec.Epoch || rec.Seq < snap.EndedBefore
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
	if m.fallback {
		return "", ErrNoCookie
	}
	v, err := m.cookies.read(r, m.cookies.name(Gateway, "session"))
	if err != nil {
		return "", err
	}
	token, _, err := m.cookies.open(r.Context(), Gateway, "session", r.Host, v)
	return token, err
}

// Good reports whether the session with this id would be admitted now, by a read
// of its own. Errors are those of Admit.
func (m *Manager) Good(ctx context.Context, id string) error {
	_, _, err := m.load(ctx, secret.Sum(id), m.cutoff.Applied(), time.Time{})
	return err
}

// Start describes a new session.
type Start struct {
	Member       member.Member // as Directory.Admit returned it: its Epoch and AsOf are stamped (C6)
	Provider     string
	SessionIndex string
	NotAfter     time.Time // SessionNotOnOrAfter; zero = no cap
	AuthTime     time.Time // AuthnInstant or auth_time; zero = the provider does not say
	Address      string
	UserAgent    string
}

// maxUserAgent bounds what is kept of a User-Agent.
const maxUserAgent = 256

// Start makes a session with a fresh id (row K01) and returns the id, which goes
// into cookies and nowhere else. A deactivation that commits between Admit and
// Start has raised the member's epoch: the session is then never admitted.
func (m *Manager) Start(ctx context.Context, s Start) (id string, rec Record, err error) {
	if !s.Member.Admitted() || m.fallback != (s.Provider == FallbackProvider) || m.fallback && !(s.Member.Fallback && s.Member.Role == member.RoleOwner) {
		return "", Record{}, ErrMember
	}
	id = secret.NewToken()
	now := m.now().UTC().Truncate(time.Millisecond)
	end := now.Add(m.limits.Absolute)
	if !s.NotAfter.IsZero() && s.NotAfter.Before(end) {
		end = s.NotAfter.UTC().Truncate(time.Millisecond)
	}
	rec = Record{
		Version: RecordVersion, Hash: secret.Sum(id), Member: s.Member.ID, Epoch: s.Member.Epoch, Seq: s.Member.AsOf,
		Provider: s.Provider, SessionIndex: s.SessionIndex, Issued: now, LastSeen: now, AuthTime: s.AuthTime, Expires: end,
		Address: s.Address, UserAgent: s.UserAgent[:min(len(s.UserAgent), maxUserAgent)],
	}
	if err := m.store.Create(ctx, rec); err != nil {
		return "", Record{}, fmt.Errorf("session: start: %w", err)
	}
	if err := m.limit(ctx, rec); err != nil {
		return "", Record{}, err
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
