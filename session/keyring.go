package session

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/gorilla/securecookie"
	"github.com/prometheus/client_golang/prometheus"

	"github.com/ssogate/ssogate/internal/secret"
)

// cookieKeySize is a hash key and a block key of 32 bytes each. securecookie
// itself would accept a single byte.
const cookieKeySize = 64

// cookieKey is one key of the ring. It keeps its identity when the ring changes,
// so that a cached principal knows whether the key of its cookie still counts.
type cookieKey struct {
	id       string
	codec    *securecookie.SecureCookie
	accepted atomic.Bool
	uses     atomic.Int64 // cached principals whose cookie was made with it
}

func newCookieKey(key []byte) *cookieKey {
	sc := securecookie.New(key[:cookieKeySize/2], key[cookieKeySize/2:])
	// The store decides about age; a cookie's own date would be a second clock.
	sc.MaxAge(0)
	sc.MaxLength(maxCookieValue)
	sc.SetSerializer(securecookie.NopEncoder{})
	return &cookieKey{id: secret.KeyID(key), codec: sc}
}

// inUse counts a cached principal in or out. A nil key is counted nowhere.
func (k *cookieKey) inUse(n int64) {
	if k != nil {
		k.uses.Add(n)
	}
}

// keyRing are the accepted keys, swapped whole, the one that makes new cookies first.
type keyRing struct {
	mu  sync.Mutex // one change at a time
	now atomic.Pointer[[]*cookieKey]
}

func (r *keyRing) keys() []*cookieKey {
	if p := r.now.Load(); p != nil {
		return *p
	}
	return nil
}

// rereadEvery bounds how often a cookie that no key opens makes a node look for
// new keys, so that whoever sends rubbish cannot make it ask the database.
const (
	rereadEvery   = time.Second
	rereadTimeout = 2 * time.Second
)

// reread is the look at the source of the keys. One at a time, so that an older
// answer never replaces a newer one.
type reread struct {
	mu     sync.Mutex
	source func(context.Context) ([][]byte, error)
	boot   func() time.Duration
	ended  time.Duration // the last one; 0 before the first
	err    error
}

// Follow names the source of the keys, for [Cookies.Reload]. Call it before the
// Cookies are in use.
func (c *Cookies) Follow(source func(context.Context) ([][]byte, error)) {
	c.reread.source, c.reread.boot = source, bootTime
}

// Reload reads the keys anew from the source. After an error those from before stay.
func (c *Cookies) Reload(ctx context.Context) error {
	c.reread.mu.Lock()
	defer c.reread.mu.Unlock()
	return c.reload(ctx)
}

func (c *Cookies) reload(ctx context.Context) error {
	keys, err := c.reread.source(ctx)
	if err == nil {
		err = c.SetKeys(keys...)
	}
	c.reread.ended, c.reread.err = c.reread.boot(), err
	return err
}

// lookAgain reads the keys anew because a cookie came that none of them opens: a
// node that was away may have missed that one was added. Those who come while it
// reads wait for it. The error of a read that failed counts for all until the
// next: it cannot be known then whether the cookie is good, and it is not refused.
func (c *Cookies) lookAgain(ctx context.Context) error {
	if c.reread.source == nil {
		return nil
	}
	c.reread.mu.Lock()
	defer c.reread.mu.Unlock()
	if ended := c.reread.ended; ended != 0 && c.reread.boot()-ended < rereadEvery {
		return c.reread.err
	}
	// On its own: whoever began it may hang up while others wait.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rereadTimeout)
	defer cancel()
	return c.reload(ctx)
}

// SetKeys replaces the accepted keys; the first makes new cookies. A cookie made
// with a key that is gone leads to a new sign-in, also where its principal is
// cached, and to nothing else (row K08). Errors change nothing.
func (c *Cookies) SetKeys(keys ...[]byte) error {
	if len(keys) == 0 {
		return errors.New("session: no cookie key")
	}
	c.ring.mu.Lock()
	defer c.ring.mu.Unlock()
	old := map[string]*cookieKey{}
	for _, k := range c.ring.keys() {
		old[k.id] = k
	}
	var next []*cookieKey
	for i, key := range keys {
		if len(key) != cookieKeySize {
			return fmt.Errorf("session: cookie key %d has %d bytes, want %d", i, len(key), cookieKeySize)
		}
		k := newCookieKey(key)
		if o := old[k.id]; o != nil {
			k = o
			delete(old, k.id)
		}
		next = append(next, k)
	}
	for _, k := range next {
		k.accepted.Store(true)
	}
	c.ring.now.Store(&next)
	for _, k := range old {
		k.accepted.Store(false)
	}
	return nil
}

// KeyIDs name the accepted keys, the one in use first.
func (c *Cookies) KeyIDs() []string {
	var ids []string
	for _, k := range c.ring.keys() {
		ids = append(ids, k.id)
	}
	return ids
}

var cookiesByKey = prometheus.NewDesc("cookies_by_key",
	"Session cookies in this node's cache by the key they were made with: a key without any can be retired.", []string{"key"}, nil)

// Describe implements prometheus.Collector.
func (c *Cookies) Describe(ch chan<- *prometheus.Desc) { ch <- cookiesByKey }

// Collect implements prometheus.Collector.
func (c *Cookies) Collect(ch chan<- prometheus.Metric) {
	for _, k := range c.ring.keys() {
		ch <- prometheus.MustNewConstMetric(cookiesByKey, prometheus.GaugeValue, float64(k.uses.Load()), k.id)
	}
}

var _ prometheus.Collector = (*Cookies)(nil)
