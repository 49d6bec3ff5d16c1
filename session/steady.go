package session

import (
	"time"

	"github.com/ssogate/ssogate/internal/clock"
)

// Steady is wall time for whatever ends with a session: see steadyClock.
func Steady(wall clock.Func) clock.Func { return steady(wall, bootTime) }

func steady(wall clock.Func, boot func() time.Duration) clock.Func {
	return newSteady(wall, boot).now
}

// steadyClock is wall time that never falls behind what has really passed since the
// process began: a clock set back must not lengthen a session's life (row K06,
// fault 16). A clock set forward is followed, since an NTP correction after a
// start with a wrong clock must not be ignored for ever; it only ends sessions early.
type steadyClock struct {
	wall  clock.Func
	boot  func() time.Duration
	start time.Time
	began time.Duration
}

func newSteady(wall clock.Func, boot func() time.Duration) *steadyClock {
	return &steadyClock{wall: wall, boot: boot, start: wall(), began: boot()}
}

func (s *steadyClock) now() time.Time { return s.at(s.boot()) }

// at is now, by a reading of the boot clock that somebody has just made: asking the
// kernel is what a hit of the cache costs most.
func (s *steadyClock) at(boot time.Duration) time.Time {
	w := s.wall()
	if least := s.start.Add(boot - s.began); w.Before(least) {
		return least
	}
	return w
}
