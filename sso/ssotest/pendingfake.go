package ssotest

import (
	"bytes"
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/sso"
)

// PendingFake keeps pending records in memory. It passes [Pending] like the real
// stores. Safe for concurrent use.
type PendingFake struct {
	now    clock.Func
	budget int

	mu      sync.Mutex
	records map[sso.Key]pendingRecord
	fail    error
}

type pendingRecord struct {
	value []byte
	until time.Time
}

// NewPendingFake makes an empty store. budget is the number of pending sign-ins
// (see sso.RecordKind.Budget); a nil clock is time.Now.
func NewPendingFake(now clock.Func, budget int) *PendingFake {
	if now == nil {
		now = time.Now
	}
	return &PendingFake{now: now, budget: budget, records: map[sso.Key]pendingRecord{}}
}

// Fail makes every call answer err, as when the server is down, until Fail(nil).
func (f *PendingFake) Fail(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.fail = err
}

// begin is called with mu held.
func (f *PendingFake) begin(ctx context.Context) error {
	if err := ctx.Err(); err != nil {
		return fmt.Errorf("ssotest: %w", err)
	}
	for k, r := range f.records {
		if !f.now().Before(r.until) {
			delete(f.records, k)
		}
	}
	return f.fail
}

// put is called with mu held, after begin.
func (f *PendingFake) put(k sso.Key, value []byte, until time.Time) error {
	if err := sso.CheckPut(k, value, until, f.now()); err != nil {
		return err
	}
	records, size := int64(1), int64(len(value))
	for other, r := range f.records {
		if other.Kind == k.Kind && other != k {
			records++
			size += int64(len(r.value))
		}
	}
	if most, bytesMost := k.Kind.Budget(f.budget); records > most || size > bytesMost {
		return sso.ErrFull
	}
	f.records[k] = pendingRecord{value: bytes.Clone(value), until: until}
	return nil
}

// Put implements sso.Pending.
func (f *PendingFake) Put(ctx context.Context, k sso.Key, value []byte, until time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin(ctx); err != nil {
		return err
	}
	return f.put(k, value, until)
}

// Get implements sso.Pending.
func (f *PendingFake) Get(ctx context.Context, k sso.Key) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin(ctx); err != nil {
		return nil, err
	}
	r, ok := f.records[k]
	if !ok {
		return nil, sso.ErrNoRecord
	}
	return bytes.Clone(r.value), nil
}

// Take implements sso.Pending.
func (f *PendingFake) Take(ctx context.Context, keys ...sso.Key) ([][]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin(ctx); err != nil {
		return nil, err
	}
	if err := sso.CheckTake(keys); err != nil {
		return nil, err
	}
	var out [][]byte
	for _, k := range keys {
		r, ok := f.records[k]
		if !ok {
			return nil, sso.ErrNoRecord
		}
		out = append(out, r.value)
	}
	for _, k := range keys {
		delete(f.records, k)
	}
	return out, nil
}

// Once implements sso.Pending.
func (f *PendingFake) Once(ctx context.Context, k sso.Key, until time.Time) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if err := f.begin(ctx); err != nil {
		return err
	}
	if _, ok := f.records[k]; ok {
		return sso.ErrUsed
	}
	return f.put(k, nil, until)
}

var _ sso.Pending = (*PendingFake)(nil)
