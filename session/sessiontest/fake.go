package sessiontest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sort"
	"sync"
	"time"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
)

// Fake is a session store in memory. It passes [Store] like the real ones. Safe
// for concurrent use.
type Fake struct {
	now clock.Func

	mu      sync.Mutex
	records map[secret.Hash]session.Record
	fail    error
	failOn  map[member.ID]error // of DeleteMember
	calls   int
}

// NewFake makes an empty store. A nil clock is time.Now.
func NewFake(now clock.Func) *Fake {
	if now == nil {
		now = time.Now
	}
	return &Fake{now: now, records: map[secret.Hash]session.Record{}}
}

// Fail makes every call answer err, as when the server is down, until Fail(nil).
// Nothing stored is lost.
func (f *Fake) Fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = err
}

// FailOn makes DeleteMember of one member answer err: a dead shard, a spoiled record.
func (f *Fake) FailOn(id member.ID, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.failOn == nil {
		f.failOn = map[member.ID]error{}
	}
	f.failOn[id] = err
}

// Calls is how many calls were made so far: a test of a cache counts them.
func (f *Fake) Calls() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.calls
}

// Len is how many records are stored, expired ones included.
func (f *Fake) Len() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.records)
}

// Replace puts r where h is looked up, whatever its own id: the fault of row K09.
func (f *Fake) Replace(h secret.Hash, r session.Record) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.records[h] = r
}

// begin is called with mu held.
func (f *Fake) begin(ctx context.Context) error {
	f.calls++
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("sessiontest: %w", err)
	}
	return f.fail
}

func (f *Fake) live(r session.Record) bool { return f.now().Before(r.Expires) }

// Create implements session.Store.
func (f *Fake) Create(ctx context.Context, r session.Record) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin(ctx); err != nil {
		return err
	}
	if err := r.Check(); err != nil {
		return err
	}
	if !f.live(r) {
		return errors.New("sessiontest: create: already expired")
	}
	if _, ok := f.records[r.Hash]; ok {
		return errors.New("sessiontest: create: exists")
	}
	f.records[r.Hash] = r.Stored()
	return nil
}

// Get implements session.Store.
func (f *Fake) Get(ctx context.Context, h secret.Hash) (session.Record, error) {
	return f.get(ctx, h, 0)
}

// Past implements session.Store.
func (f *Fake) Past(ctx context.Context, h secret.Hash) (session.Record, error) {
	return f.get(ctx, h, session.Remembered)
}

func (f *Fake) get(ctx context.Context, h secret.Hash, late time.Duration) (session.Record, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin(ctx); err != nil {
		return session.Record{}, err
	}
	r, ok := f.records[h]
	if !ok {
		return session.Record{}, session.ErrNotFound
	}
	if r.Hash != h || r.Check() != nil {
		return session.Record{}, session.ErrMismatch
	}
	if !f.now().Before(r.Expires.Add(late)) {
		return session.Record{}, session.ErrNotFound
	}
	return r, nil
}

// Touch implements session.Store.
func (f *Fake) Touch(ctx context.Context, uses []session.Use) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin(ctx); err != nil {
		return err
	}
	for _, u := range uses {
		if r, ok := f.records[u.Hash]; ok && u.Seen.After(r.LastSeen) {
			r.LastSeen = u.Seen
			f.records[u.Hash] = r.Stored()
		}
	}
	return nil
}

// Delete implements session.Store.
func (f *Fake) Delete(ctx context.Context, h secret.Hash) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin(ctx); err != nil {
		return err
	}
	delete(f.records, h)
	return nil
}

// DeleteMember implements session.Store.
func (f *Fake) DeleteMember(ctx context.Context, id member.ID, below int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin(ctx); err != nil {
		return 0, err
	}
	if err := f.failOn[id]; err != nil {
		return 0, err
	}
	n := 0
	for h, r := range f.records {
		if r.Member == id && r.Epoch < below {
			delete(f.records, h)
			n++
		}
	}
	return n, nil
}

// List implements session.Store.
func (f *Fake) List(ctx context.Context, id member.ID) ([]session.Record, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin(ctx); err != nil {
		return nil, err
	}
	var out []session.Record
	for h, r := range f.records {
		if r.Hash == h && r.Check() == nil && r.Member == id && f.live(r) {
			out = append(out, r)
		}
	}
	sort.Slice(out, func(i, j int) bool {
		if !out[i].Issued.Equal(out[j].Issued) {
			return out[i].Issued.After(out[j].Issued)
		}
		return bytes.Compare(out[i].Hash[:], out[j].Hash[:]) < 0
	})
	return out, nil
}

var _ session.Store = (*Fake)(nil)
