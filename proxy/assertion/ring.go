package assertion

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
)

// Times of a rotation. Whoever read the key set just before a key was published may
// use that answer for [PublishedFor]: the key signs later than that.
const (
	PublishedFor = 5 * time.Minute
	overlap      = 2 * PublishedFor
	// keep is how long a key stays published after the next one signs: its last token,
	// and any clock in between, is long over then.
	keep = 5 * time.Minute
)

// Store keeps sealed values by name. store/sql is the real one.
type Store interface {
	// SealedKey answers a value, or [member.ErrNotFound].
	SealedKey(ctx context.Context, name string) ([]byte, error)
	// PutSealedKeyIfAbsent stores a value unless there is one, and answers the one there is.
	PutSealedKeyIfAbsent(ctx context.Context, name string, sealed []byte) ([]byte, error)
	// ReplaceSealedKey replaces the value that was read, with an audit event and a row
	// by which every node reads it anew. [member.ErrVersion] when it has changed since.
	ReplaceSealedKey(ctx context.Context, by member.Actor, kind, name string, was, sealed []byte) (seq int64, err error)
}

// Ring is the keys of an installation, which all nodes share. Safe for concurrent use.
type Ring struct {
	Store  Store
	Sealer *secret.Sealer
	Now    clock.Func // time.Now when nil

	held  atomic.Pointer[held]
	mu    sync.Mutex // one reading at a time: an older answer never replaces a newer one
	ended time.Time  // the last one
	some  bool       // there was one
}

// held are the keys as they were read last, of each algorithm in the order in which
// they sign.
type held struct{ es, rs []*Key }

func (h *held) of(a Algorithm) *[]*Key {
	if a == RS256 {
		return &h.rs
	}
	return &h.es
}

// stored is how the keys of one algorithm are kept: sealed, as one value.
type stored struct {
	Keys []storedKey `json:"keys"`
}

type storedKey struct {
	Key   []byte `json:"key"`
	Signs int64  `json:"signs"` // unix milliseconds
	Gone  int64  `json:"gone,omitempty"`
}

func (k storedKey) gone(now time.Time) bool { return k.Gone != 0 && k.Gone <= now.UnixMilli() }

func nameOf(a Algorithm) string { return "assertion/" + string(a) }

// Signer answers the key that signs now, or nil. Without an allocation: it is asked
// for every request.
func (r *Ring) Signer(a Algorithm, now time.Time) *Key {
	h := r.held.Load()
	if h == nil || !a.Valid() {
		return nil
	}
	var first, last *Key
	for _, k := range *h.of(a) {
		if !k.Gone.IsZero() && !now.Before(k.Gone) {
			continue
		}
		if first == nil {
			first = k
		}
		if !k.Signs.After(now) {
			last = k
		}
	}
	if last == nil {
		return first // the clock was set back: it is published all the same
	}
	return last
}

// Ensure reads the keys, and makes the first one of each algorithm that has none. Of
// two nodes that make one at once, both use the one that was stored first.
func (r *Ring) Ensure(ctx context.Context, algorithms ...Algorithm) error {
	for _, a := range algorithms {
		if _, err := r.Store.SealedKey(ctx, nameOf(a)); err == nil {
			continue
		} else if !errors.Is(err, member.ErrNotFound) {
			return fmt.Errorf("assertion: read keys: %w", err)
		}
		der, err := a.make()
		if err != nil {
			return err
		}
		// It signs at once: nobody has read a key set yet that it should be in.
		sealed, err := r.seal(a, stored{[]storedKey{{Key: der, Signs: r.now().UnixMilli()}}})
		if err == nil {
			_, err = r.Store.PutSealedKeyIfAbsent(ctx, nameOf(a), sealed)
		}
		if err != nil {
			return fmt.Errorf("assertion: store the first key: %w", err)
		}
	}
	return r.Load(ctx)
}

// Load reads the keys anew. After an error those from before stay.
func (r *Ring) Load(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.load(ctx)
}

func (r *Ring) load(ctx context.Context) error {
	defer func() { r.ended, r.some = r.now(), true }()
	next := &held{}
	for _, a := range Algorithms() {
		s, _, err := r.read(ctx, a)
		if errors.Is(err, member.ErrNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		if *next.of(a), err = s.parse(a); err != nil {
			return err
		}
	}
	r.held.Store(next)
	return nil
}

// read answers what is stored of one algorithm; sealed is what was read.
func (r *Ring) read(ctx context.Context, a Algorithm) (s stored, sealed []byte, err error) {
	if sealed, err = r.Store.SealedKey(ctx, nameOf(a)); err != nil {
		return s, nil, fmt.Errorf("assertion: read keys: %w", err)
	}
	plain, err := r.Sealer.Open(sealed, nameOf(a))
	if err != nil {
		return s, nil, fmt.Errorf("assertion: the stored %s keys were sealed with another seal_key; set it as secrets.seal_key_previous: %w", a, err)
	}
	if err := json.Unmarshal(plain, &s); err != nil {
		return s, nil, fmt.Errorf("assertion: stored keys: %w", err)
	}
	return s, sealed, nil
}

func (s stored) parse(a Algorithm) (out []*Key, err error) {
	for _, sk := range s.Keys {
		gone := time.Time{}
		if sk.Gone != 0 {
			gone = time.UnixMilli(sk.Gone)
		}
		k, err := parseKey(a, sk.Key, time.UnixMilli(sk.Signs), gone)
		if err != nil {
			return nil, err
		}
		out = append(out, k)
	}
	slices.SortStableFunc(out, func(a, b *Key) int { return a.Signs.Compare(b.Signs) })
	return out, nil
}

func (r *Ring) seal(a Algorithm, s stored) ([]byte, error) {
	plain, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("assertion: keys: %w", err)
	}
	return r.Sealer.Seal(plain, nameOf(a)), nil
}

func (r *Ring) now() time.Time {
	if r.Now == nil {
		return time.Now()
	}
	return r.Now()
}
