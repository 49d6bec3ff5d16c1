package proxy

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/internal/clock"
)

// Limits of what refusals may cost. Anybody can cause them, and each audit event
// is a write: per reason and second a few are kept whole, the rest as a number.
const (
	denialsPerSecond = 10
	recordTimeout    = 500 * time.Millisecond
	maxReasons       = 128 // reasons are our own words; the bound is a second lock
)

// denials writes refusals to the audit log, bounded and aggregated (design
// section 5, row L02): none is lost without being counted.
type denials struct {
	to   audit.Recorder
	now  clock.Func
	lost func()

	mu     sync.Mutex
	events map[string]*window
	logs   map[string]*window
}

// window counts one reason within one second.
type window struct {
	second  int64
	n       int
	left    int // not written since the last event
	pending bool
}

func newDenials(to audit.Recorder, now clock.Func, lost func()) *denials {
	return &denials{to: to, now: now, lost: lost, events: map[string]*window{}, logs: map[string]*window{}}
}

// record keeps e, or counts it for the next one of its reason. It never fails
// the caller: a refusal stands whether or not it could be written down.
func (d *denials) record(ctx context.Context, e audit.Event) {
	if d.to == nil {
		return
	}
	left, ok := d.take(e.Reason)
	if !ok {
		return
	}
	if left > 0 {
		if e.Detail == nil {
			e.Detail = map[string]string{}
		}
		e.Detail["more_of_this_reason"] = strconv.Itoa(left)
	}
	d.write(ctx, e)
}

func (d *denials) write(ctx context.Context, e audit.Event) {
	// The client may be gone by now; the event is about it all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	if err := d.to.Record(ctx, e); err != nil {
		d.lost()
	}
}

// take reports whether an event of this reason may be written now, and how many
// were not since the last. A suppressed one arms a summary, so that the count is
// written also when nothing follows.
func (d *denials) take(reason string) (left int, ok bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := at(d.events, reason, d.now().Unix())
	if w == nil {
		d.lost()
		return 0, false
	}
	if w.n < denialsPerSecond {
		w.n++
		left, w.left = w.left, 0
		return left, true
	}
	w.left++
	if !w.pending {
		w.pending = true
		time.AfterFunc(time.Second, func() { d.summarise(reason) })
	}
	return 0, false
}

func (d *denials) summarise(reason string) {
	d.mu.Lock()
	w := d.events[reason]
	left := w.left
	w.left, w.pending = 0, false
	d.mu.Unlock()
	if left == 0 {
		return
	}
	d.write(context.Background(), audit.Event{
		Kind: "access.refused", Outcome: audit.Denied, Actor: "anonymous", Reason: reason,
		Detail: map[string]string{"more_of_this_reason": strconv.Itoa(left)},
	})
}

// mayLog bounds log lines that clients can cause, the same way.
func (d *denials) mayLog(what string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	w := at(d.logs, what, d.now().Unix())
	if w == nil || w.n >= denialsPerSecond {
		return false
	}
	w.n++
	return true
}

// at is the window of key in this second, or nil when there are too many keys.
func at(m map[string]*window, key string, second int64) *window {
	w := m[key]
	if w == nil {
		if len(m) >= maxReasons {
			return nil
		}
		w = &window{}
		m[key] = w
	}
	if w.second != second {
		w.second, w.n = second, 0
	}
	return w
}

// limited cuts what a client chose; the audit store strips control characters.
func limited(s string) string { return s[:min(len(s), 128)] }
