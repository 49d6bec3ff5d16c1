package session

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ssogate/ssogate/member"
)

const (
	barrierWait  = 10 * time.Second     // then the caller is told to try again (design, section 3)
	leaseBound   = time.Second          // after that a lease held before has run out, drift included (C9)
	readingPause = 4 * time.Millisecond // between two readings of the registry while somebody waits
	wakeTimeout  = 250 * time.Millisecond
)

// ErrBarrier means the cut-off is committed but not yet known to be true
// everywhere: answer 503; the row stays and a retry waits for it again (C2).
var ErrBarrier = errors.New("session: cut-off not confirmed in time")

// Publisher waits until a committed row is true on every node. It is the
// member.Revoker of a command beside running nodes, and the part of a node's
// [Cutoff] that looks at the others. Safe for concurrent use.
type Publisher struct {
	Registry Registry
	Wakes    Wakes // may be nil: nodes then find the row at their next poll
	boot     func() time.Duration

	mu      sync.Mutex
	next    *reading // the reading that begins next; nil while nobody waits
	running bool
}

// NewPublisher is for a process that is no node itself.
func NewPublisher(r Registry, w Wakes) *Publisher {
	return &Publisher{Registry: r, Wakes: w, boot: bootTime}
}

// Barrier implements member.Revoker.
func (p *Publisher) Barrier(ctx context.Context, seq int64) error {
	ctx, cancel := context.WithTimeout(ctx, barrierWait)
	defer cancel()
	p.wake()
	return p.wait(ctx, seq, "")
}

// wake tells the other nodes, beside the waiting: a wake-up channel that hangs
// must not hold up what works without it.
func (p *Publisher) wake() {
	if p.Wakes == nil {
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), wakeTimeout)
		defer cancel()
		_ = p.Wakes.Wake(ctx) // lost ones cost a poll interval; the channel counts its own failures
	}()
}

// wait returns nil once every node but self that was registered when it began
// has acknowledged seq, has left or was expelled, or must have lost its lease. A
// node that joins later reads the row before its first lease.
func (p *Publisher) wait(ctx context.Context, seq int64, self string) error {
	var owed map[string]time.Duration // until when each is waited for; nil before the first reading
	for {
		nodes, err := p.read(ctx)
		now := p.boot()
		behind := map[string]bool{}
		for _, n := range nodes {
			if n.ID != self && n.Applied < seq {
				behind[n.ID] = true
			}
		}
		switch {
		case err != nil:
			// The registry cannot be read now. Once it was, time alone is enough.
		case owed == nil:
			// The full bound from the end of the reading: it began after the commit.
			owed = map[string]time.Duration{}
			for id := range behind {
				owed[id] = now + leaseBound
			}
		default:
			for id := range owed {
				if !behind[id] {
					delete(owed, id)
				}
			}
		}
		if owed != nil && !anyAfter(owed, now) {
			return nil
		}
		if ctx.Err() != nil {
			return fmt.Errorf("%w: %d other nodes: %w", ErrBarrier, len(owed), errors.Join(err, ctx.Err()))
		}
	}
}

func anyAfter(owed map[string]time.Duration, now time.Duration) bool {
	for _, until := range owed {
		if now < until {
			return true
		}
	}
	return false
}

// reading is one look at the registry, shared by all who asked before it began.
type reading struct {
	done  chan struct{}
	nodes []Node
	err   error
}

// read answers a reading that begins after the call: of fifty deactivations at
// once all look together.
func (p *Publisher) read(ctx context.Context) ([]Node, error) {
	p.mu.Lock()
	if p.next == nil {
		p.next = &reading{done: make(chan struct{})}
	}
	r := p.next
	if !p.running {
		p.running = true
		go p.readings() //nolint:gosec // G118: shared by many callers, so it ends with the last of them and not with this one
	}
	p.mu.Unlock()
	select {
	case <-r.done:
		return r.nodes, r.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// readings looks as long as somebody waits.
func (p *Publisher) readings() {
	for {
		p.mu.Lock()
		r := p.next
		p.next = nil
		p.running = r != nil
		p.mu.Unlock()
		if r == nil {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
		r.nodes, r.err = p.Registry.Nodes(ctx)
		cancel()
		close(r.done)
		time.Sleep(readingPause) // others act meanwhile; without it a slow node would mean a busy loop
	}
}

var _ member.Revoker = (*Publisher)(nil)
