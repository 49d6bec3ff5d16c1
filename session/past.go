package session

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
)

// Past is a session that came to its end by itself, and that nothing ended before.
type Past struct {
	Session secret.Hash
	Member  member.ID
}

// ErrNotPast means that the cookie's session did not just run out: it still runs, or it
// was ended, or nobody knows.
var ErrNotPast = errors.New("session: did not run out")

// Expired answers whose session the app cookie of r was, when that ran out, by idling or
// at its absolute end, at most [Remembered] ago: never one that was revoked, logged out
// or whose member may not pass any more (protocols section 3). It admits nobody.
// ErrNotPast, ErrNoCookie or ErrBadCookie where it is not so; other errors are 503.
func (m *Manager) Expired(ctx context.Context, r *http.Request) (Past, error) {
	value, err := m.cookies.read(r, m.cookies.name(App, "session"))
	if err != nil {
		return Past{}, err
	}
	token, _, err := m.cookies.open(ctx, App, "session", Host(r.Host), value)
	if err != nil {
		return Past{}, err
	}
	h := secret.Sum(token)
	rec, err := m.store.Past(ctx, h)
	switch {
	case errors.Is(err, ErrNotFound):
		return Past{}, ErrNotPast
	case err != nil:
		return Past{}, fmt.Errorf("session: read past: %w", err)
	}
	if late := m.now().Sub(m.ranOut(rec)); late < 0 || late >= Remembered {
		return Past{}, ErrNotPast
	}
	snap, err := m.dir.Snapshot(ctx, rec.Member, rec.ref())
	switch {
	case errors.Is(err, member.ErrNotFound):
		return Past{}, ErrNotPast
	case err != nil:
		return Past{}, fmt.Errorf("session: read member: %w", err)
	case dead(rec, snap), !snap.Member.Admitted(), !m.ours(rec.Provider):
		return Past{}, ErrNotPast
	}
	return Past{Session: h, Member: rec.Member}, nil
}

// ranOut is when a session ran out, or will.
func (m *Manager) ranOut(rec Record) time.Time {
	idle := m.touches.latest(rec.Hash, rec.LastSeen).Add(m.limits.Idle)
	if idle.Before(rec.Expires) {
		return idle
	}
	return rec.Expires
}
