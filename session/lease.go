package session

import (
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Lease timing (protocols C9).
const (
	leaseTime   = 750 * time.Millisecond // from the moment of sending
	pollEvery   = 250 * time.Millisecond
	maxWallJump = 200 * time.Millisecond // a larger jump of the wall clock voids the lease; C9 allows 250, and drift needs its part
)

// bootTime is CLOCK_BOOTTIME: unlike Go's monotonic clock it goes on while the
// machine sleeps, so a resumed laptop or VM finds its lease run out.
func bootTime() time.Duration {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return 0 // a lease that started at 0 and is compared with 0 never counts: see held
	}
	return time.Duration(ts.Nano())
}

// lease says until when this node may trust its principal cache. The zero value
// is no lease.
type lease struct {
	mu    sync.RWMutex
	boot  func() time.Duration
	wall  func() time.Time
	until time.Duration // boot time
	drift time.Duration // wall minus boot when it was last extended
	gen   int64         // raised whenever a lease begins after a gap (C4)
}

// held reports whether the lease is live now, and its generation.
func (l *lease) held() (gen int64, ok bool) {
	gen, _, ok = l.heldAt()
	return gen, ok
}

// heldAt is held, and when that was.
func (l *lease) heldAt() (gen int64, now moment, ok bool) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	now = l.moment()
	return l.gen, now, l.live(now)
}

// moment is a point of time by both clocks.
type moment struct {
	boot  time.Duration
	drift time.Duration // wall minus boot
}

// moment is now.
func (l *lease) moment() moment {
	boot := l.boot()
	return moment{boot, time.Duration(l.wall().UnixNano()) - boot}
}

// live needs mu.
func (l *lease) live(now moment) bool {
	if l.until == 0 || now.boot <= 0 || now.boot >= l.until {
		return false
	}
	return near(now.drift, l.drift)
}

// near reports that the clocks have gone alike in between. CLOCK_BOOTTIME stands
// still while a hypervisor pauses the machine; the wall clock, corrected
// afterwards, shows it.
func near(a, b time.Duration) bool { return a-b < maxWallJump && b-a < maxWallJump }

// void ends the lease at once; what was read under it is never a hit again (C4).
func (l *lease) void() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.until = 0
	l.gen++
}

// extend counts from the moment the confirming read was SENT, not from when its
// answer came: the answer may have been on its way for long. The clocks are
// compared with that moment too, or a pause while the answer was on its way
// would be taken for no time at all (C9).
func (l *lease) extend(sent moment) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.moment()
	if !near(now.drift, sent.drift) {
		return
	}
	if !l.live(now) {
		l.gen++
	}
	l.until = sent.boot + leaseTime
	l.drift = sent.drift
}
