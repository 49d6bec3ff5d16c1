package sso

import (
	"sync"
	"time"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
)

// sharedFor is how long tabs that complete at once share one new session; the
// next request of the browser carries the cookie itself.
const sharedFor = 10 * time.Second

// maxStarting bounds what is kept for that; past it tabs get sessions of their own.
const maxStarting = 10000

// starting lets the tabs of one browser that come back from the IdP at the same
// moment, none of them with a session cookie yet, end in one session (W4).
// With one each, signing out would end the last tab's and leave the others
// signed in. It works within this process; tabs that meet two nodes at the
// same moment still get two sessions. Safe for concurrent use.
type starting struct {
	now clock.Func
	mu  sync.Mutex
	m   map[startKey]*started
}

// startKey is a browser with a person: another epoch, account or provider is
// another session.
type startKey struct {
	binding  secret.Hash
	member   member.ID
	epoch    int64
	provider string
}

// started is locked while its session is made.
type started struct {
	mu    sync.Mutex
	id    string // never leaves the process but in the cookie
	until time.Time
}

func newStarting(now clock.Func) *starting { return &starting{now: now, m: map[startKey]*started{}} }

// enter answers the entry of k, locked, with id "" when the session is still to be made.
func (s *starting) enter(k startKey) *started {
	now := s.now()
	s.mu.Lock()
	e := s.m[k]
	if e == nil {
		e = &started{until: now.Add(sharedFor)}
		if len(s.m) >= maxStarting/2 {
			s.sweep(now)
		}
		if len(s.m) < maxStarting {
			s.m[k] = e
			// A session id is not kept in memory longer than it is of use.
			time.AfterFunc(sharedFor, func() { s.forget(k, e) })
		}
	}
	s.mu.Unlock()
	e.mu.Lock()
	if !now.Before(e.until) {
		e.id, e.until = "", now.Add(sharedFor)
	}
	return e
}

func (s *starting) forget(k startKey, e *started) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m[k] == e {
		delete(s.m, k)
	}
}

// sweep needs mu. Entries in use stay with who holds them.
func (s *starting) sweep(now time.Time) {
	for k, e := range s.m {
		if e.mu.TryLock() {
			if !now.Before(e.until) {
				delete(s.m, k)
			}
			e.mu.Unlock()
		}
	}
}
