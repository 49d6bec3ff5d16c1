package session

import (
	"time"

	"github.com/ssogate/ssogate/internal/clock"
)

// Steady is wall time for whatever ends with a session: see steady.
func Steady(wall clock.Func) clock.Func { return steady(wall, bootTime) }

// steady is wall time that never falls behind what has really passed since the
// process began: a clock set back must not lengthen a session's life (row K06,
// fault 16). A clock set forward is followed, since an NTP correction after a
// start with a wrong clock must not be ignored for ever; it only ends sessions early.
func steady(wall clock.Func, boot func() time.Duration) clock.Func {
	start, began := wall(), boot()
	return func() time.Time {
		w := wall()
		if least := start.Add(boot() - began); w.Before(least) {
			return least
		}
		return w
	}
}
