package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
)

// handleDigits of a session's hash name it to people: enough to tell a member's
// sessions apart, too few to be worth anything else.
const handleDigits = 16

// Handle names a session in lists and commands.
func (r Record) Handle() string { return r.Hash.String()[:handleDigits] }

// Lister lists sessions of members and ends them: what a [Manager] does for its
// own node, and a command beside the nodes that admits nobody. Safe for
// concurrent use.
type Lister struct {
	store   Store
	dir     Directory
	idle    time.Duration
	now     clock.Func
	touches *touches // uses that this node has not written back; none in a command
}

// NewLister is for a process that is no node itself. What nodes have not written
// back yet it cannot know: a session may look unused for a minute longer than it
// is. idle is Limits.Idle; a nil clock is time.Now.
func NewLister(s Store, d Directory, idle time.Duration, now clock.Func) (*Lister, error) {
	if s == nil || d == nil || idle <= 0 {
		return nil, errors.New("session: lister needs store, directory and the idle limit")
	}
	if now == nil {
		now = time.Now
	}
	return newLister(s, d, idle, now), nil
}

func newLister(s Store, d Directory, idle time.Duration, now clock.Func) *Lister {
	return &Lister{store: s, dir: d, idle: idle, now: now, touches: &touches{m: map[secret.Hash]time.Time{}}}
}

// Sessions lists a member's live sessions, newest first, at most what the store
// lists. One that was ended and not yet deleted is left out. An unknown member
// has none.
func (l *Lister) Sessions(ctx context.Context, id member.ID) ([]Record, error) {
	all, err := l.store.List(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("session: list: %w", err)
	}
	now := l.now()
	var out []Record
	for _, r := range all {
		snap, err := l.dir.Snapshot(ctx, id, r.ref())
		if errors.Is(err, member.ErrNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("session: list: %w", err)
		}
		r.LastSeen = l.touches.latest(r.Hash, r.LastSeen)
		if !dead(r, snap) && now.Before(r.Expires) && now.Sub(r.LastSeen) <= l.idle {
			out = append(out, r)
		}
	}
	return out, nil
}

// EndOne ends the member's session with this handle, and answers it. [ErrNotFound]
// when the member has no such session. It returns nil only when no node admits
// it any more (G1).
func (l *Lister) EndOne(ctx context.Context, by member.Actor, id member.ID, handle, reason string) (Record, error) {
	list, err := l.Sessions(ctx, id)
	if err != nil {
		return Record{}, err
	}
	i := slices.IndexFunc(list, func(r Record) bool { return r.Handle() == handle })
	if i < 0 {
		return Record{}, ErrNotFound
	}
	return list[i], l.end(ctx, by, list[i], reason)
}

func (l *Lister) end(ctx context.Context, by member.Actor, r Record, reason string) error {
	err := l.dir.EndSession(ctx, by, member.EndedSession{Hash: r.Hash.String(), Member: r.Member, Until: r.Expires, Reason: reason})
	if err != nil {
		return fmt.Errorf("session: end: %w", err)
	}
	return nil
}

// EndAll is "sign out everywhere".
func (l *Lister) EndAll(ctx context.Context, by member.Actor, id member.ID, reason string) error {
	if err := l.dir.EndSessions(ctx, by, id, reason); err != nil {
		return fmt.Errorf("session: end all: %w", err)
	}
	return nil
}

// limit ends the member's oldest sessions beyond Limits.PerMember. One order for
// everybody, the new session not excepted: of two sign-ins at once, on two nodes,
// each sees at least what was stored before it, and exactly the newest stay.
func (m *Manager) limit(ctx context.Context, started Record) error {
	if m.limits.PerMember == 0 {
		return nil
	}
	list, err := m.Sessions(ctx, started.Member)
	if err != nil {
		return err
	}
	slices.SortFunc(list, func(a, b Record) int {
		if d := b.Issued.Compare(a.Issued); d != 0 {
			return d
		}
		return bytes.Compare(a.Hash[:], b.Hash[:])
	})
	var mine error
	for i, r := range list {
		if i < m.limits.PerMember {
			continue
		}
		if err := m.end(ctx, member.Actor{Name: "system"}, r, "session_limit"); err != nil {
			return err
		}
		if r.Hash == started.Hash {
			// Nobody may be sent on with a session that is over. By the clocks of two
			// nodes that differ this can also be the later one: for as long as they do.
			mine = errors.New("session: start: the member has just signed in elsewhere, and may not have more sessions")
		}
	}
	return mine
}
