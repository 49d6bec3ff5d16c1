package sso

import (
	"context"
	"strconv"
	"sync"
	"time"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/internal/clock"
)

// Limits of what refusals may cost. Anybody can cause them, and each event is a
// write into the one audit chain that SCIM and the console wait for too.
const (
	refusalsPerSecond = 10
	recordTimeout     = 2 * time.Second
	maxReasons        = 128 // reasons are words of ours and of the providers; a second lock
)

// refusals writes refused sign-ins to the audit log: per reason and second a
// few whole, the rest as a number on the next one (design section 5, row L02).
// Safe for concurrent use.
type refusals struct {
	to   audit.Recorder
	now  clock.Func
	lost func(audit.Event, error)

	mu sync.Mutex
	m  map[string]*window
}

// window counts one reason within one second.
type window struct {
	second  int64
	n, left int // left: not written since the last event
	waiting bool
}

func newRefusals(to audit.Recorder, now clock.Func, lost func(audit.Event, error)) *refusals {
	return &refusals{to: to, now: now, lost: lost, m: map[string]*window{}}
}

// record keeps e or counts it. A refusal stands whether or not it could be
// written down, so there is no error.
func (a *refusals) record(ctx context.Context, e audit.Event) {
	left, ok := a.take(e.Kind, e.Reason)
	if !ok {
		return
	}
	if left > 0 {
		e.Detail = map[string]string{"more_of_this_reason": strconv.Itoa(left)}
	}
	a.write(ctx, e)
}

func (a *refusals) write(ctx context.Context, e audit.Event) {
	// The client may be gone by now; the event is about it all the same.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recordTimeout)
	defer cancel()
	if err := a.to.Record(ctx, e); err != nil {
		a.lost(e, err)
	}
}

func (a *refusals) take(kind, reason string) (left int, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	w := a.m[reason]
	if w == nil {
		if len(a.m) >= maxReasons {
			reason = "other"
			w = a.m[reason]
		}
		if w == nil {
			w = &window{}
			a.m[reason] = w
		}
	}
	if s := a.now().Unix(); w.second != s {
		w.second, w.n = s, 0
	}
	if w.n < refusalsPerSecond {
		w.n++
		left, w.left = w.left, 0
		return left, true
	}
	w.left++
	if !w.waiting { // so that the count is written also when nothing follows
		w.waiting = true
		time.AfterFunc(time.Second, func() { a.summarise(kind, reason) })
	}
	return 0, false
}

func (a *refusals) summarise(kind, reason string) {
	a.mu.Lock()
	w := a.m[reason]
	left := w.left
	w.left, w.waiting = 0, false
	a.mu.Unlock()
	if left > 0 {
		a.write(context.Background(), audit.Event{
			Time: a.now().UTC(), Kind: kind, Outcome: audit.Denied, Actor: "anonymous", Reason: reason,
			Detail: map[string]string{"more_of_this_reason": strconv.Itoa(left)},
		})
	}
}
