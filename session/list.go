package session

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ssogate/ssogate/member"
)

// handleDigits of a session's hash name it to people: enough to tell a member's
// sessions apart, too few to be worth anything else.
const handleDigits = 16

// Handle names a session in lists and commands.
func (r Record) Handle() string { return r.Hash.String()[:handleDigits] }

// Sessions lists a member's live sessions, newest first, at most what the store
// lists. One that was ended and not yet deleted is left out. An unknown member
// has none.
func (m *Manager) Sessions(ctx context.Context, id member.ID) ([]Record, error) {
	all, err := m.store.List(ctx, id)
	if err != nil {
		return nil, fmt.Errorf("session: list: %w", err)
	}
	now := m.now()
	var out []Record
	for _, r := range all {
		snap, err := m.dir.Snapshot(ctx, id, r.ref())
		if errors.Is(err, member.ErrNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("session: list: %w", err)
		}
		r.LastSeen = m.touches.latest(r.Hash, r.LastSeen)
		if !dead(r, snap) && now.Before(r.Expires) && now.Sub(r.LastSeen) <= m.limits.Idle {
			out = append(out, r)
		}
	}
	return out, nil
}

// EndOne ends the member's session with this handle, and answers it. [ErrNotFound]
// when the member has no such session. It returns nil only when no node admits
// it any more (G1).
func (m *Manager) EndOne(ctx context.Context, by member.Actor, id member.ID, handle, reason string) (Record, error) {
	list, err := m.Sessions(ctx, id)
	if err != nil {
		return Record{}, err
	}
	i := slices.IndexFunc(list, func(r Record) bool { return r.Handle() == handle })
	if i < 0 {
		return Record{}, ErrNotFound
	}
	return list[i], m.end(ctx, by, list[i], reason)
}

func (m *Manager) end(ctx context.Context, by member.Actor, r Record, reason string) error {
	err := m.dir.EndSession(ctx, by, member.EndedSession{Hash: r.Hash.String(), Member: r.Member, Until: r.Expires, Reason: reason})
	if err != nil {
		return fmt.Errorf("session: end: %w", err)
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
	for i, r := range list {
		if i < m.limits.PerMember {
			continue
		}
		if err := m.end(ctx, member.Actor{Name: "system"}, r, "session_limit"); err != nil {
			return err
		}
	}
	return nil
}
