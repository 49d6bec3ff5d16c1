package session

import (
	"crypto/sha256"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// maxCached bounds the principal cache; past it an arbitrary entry makes room.
	maxCached = 100_000
	// shards keep requests on many cores from waiting for one lock.
	shards     = 64
	perShard   = maxCached / shards
	keepUnused = 15 * time.Minute // then an entry is swept: its cookie is read again
)

// cached is one principal with what its session has done since it was read.
type cached struct {
	p     *Principal
	gen   int64        // lease generation it was read under (C4)
	key   *cookieKey   // the key its cookie was made with
	seen  atomic.Int64 // last admitted request, unix milliseconds
	noted atomic.Int64 // last use handed to touches, unix milliseconds
}

// cacheKey is the hash of a cookie value with where it came to: a hit needs no
// decoding, a value tried on another host or door misses, and a dump of the
// memory shows no cookie that opens anything.
type cacheKey [sha256.Size]byte

func keyOf(d Door, host, value string) cacheKey {
	var b [maxCookieValue + 256 + 16]byte // larger ones are hashed all the same, with an allocation
	k := append(b[:0], d...)
	k = append(k, 0)
	k = append(k, host...)
	k = append(k, 0)
	return sha256.Sum256(append(k, value...))
}

// cache keeps principals by cookie. It never decides whether one may be used:
// Manager asks lease and floors on every hit, so that a revocation need not
// find what it concerns here.
type cache struct{ shards [shards]shard }

type shard struct {
	mu sync.RWMutex
	m  map[cacheKey]*cached
	_  [64]byte // its own cache line
}

func newCache() *cache {
	c := &cache{}
	for i := range c.shards {
		c.shards[i].m = map[cacheKey]*cached{}
	}
	return c
}

func (c *cache) of(k cacheKey) *shard { return &c.shards[k[0]%shards] }

func (c *cache) get(k cacheKey) *cached {
	s := c.of(k)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.m[k]
}

func (c *cache) put(k cacheKey, e *cached) {
	s := c.of(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if old := s.m[k]; old != nil {
		s.drop(k, old)
	} else if len(s.m) >= perShard {
		for victim, v := range s.m { // map order is arbitrary: good enough as a policy, constant time
			s.drop(victim, v)
			break
		}
	}
	e.key.inUse(1)
	s.m[k] = e
}

func (c *cache) remove(k cacheKey) {
	s := c.of(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if e := s.m[k]; e != nil {
		s.drop(k, e)
	}
}

// sweep removes what was not used for a while, or can no longer be a hit. Memory
// hygiene only.
func (c *cache) sweep(now time.Time, usable func(*cached) bool) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.Lock()
		for k, e := range s.m {
			if now.Sub(time.UnixMilli(e.seen.Load())) > keepUnused || !now.Before(e.p.Expires) || !usable(e) {
				s.drop(k, e)
			}
		}
		s.mu.Unlock()
	}
}

func (c *cache) clear() {
	c.sweep(time.Time{}, func(*cached) bool { return false })
}

func (c *cache) len() (n int) {
	for i := range c.shards {
		s := &c.shards[i]
		s.mu.RLock()
		n += len(s.m)
		s.mu.RUnlock()
	}
	return n
}

// drop needs the lock.
func (s *shard) drop(k cacheKey, e *cached) {
	e.key.inUse(-1)
	delete(s.m, k)
}
