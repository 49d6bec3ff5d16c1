package session

import (
	"sync"
	"sync/atomic"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
)

// maxCached bounds the principal cache; past it an arbitrary entry makes room.
const maxCached = 100_000

// cached is one principal with what its session has done since it was read.
type cached struct {
	p     *Principal
	gen   int64        // lease generation it was read under (C4)
	seen  atomic.Int64 // last admitted request, unix milliseconds
	noted atomic.Int64 // last use handed to touches, unix milliseconds
}

// cacheKey is the cookie value as it came, with where it came to: a hit needs
// no decoding, and a value tried on another host or door misses.
type cacheKey struct {
	door  Door
	host  string
	value string
}

// cache keeps principals by cookie. It never decides whether one may be used:
// Manager asks lease and floors on every hit.
type cache struct {
	mu       sync.RWMutex
	m        map[cacheKey]*cached
	byMember map[member.ID]map[cacheKey]struct{}
	byHash   map[secret.Hash]map[cacheKey]struct{}
}

func newCache() *cache {
	return &cache{
		m:        map[cacheKey]*cached{},
		byMember: map[member.ID]map[cacheKey]struct{}{},
		byHash:   map[secret.Hash]map[cacheKey]struct{}{},
	}
}

func (c *cache) get(k cacheKey) *cached {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.m[k]
}

func (c *cache) put(k cacheKey, e *cached) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if old := c.m[k]; old != nil {
		c.drop(k, old)
	} else if len(c.m) >= maxCached {
		for victim, v := range c.m { // map order is arbitrary: good enough as a policy, constant time
			c.drop(victim, v)
			break
		}
	}
	c.m[k] = e
	index(c.byMember, e.p.Member.ID, k)
	index(c.byHash, e.p.Session, k)
}

func (c *cache) remove(k cacheKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if e := c.m[k]; e != nil {
		c.drop(k, e)
	}
}

// evict forgets what a revocation concerns. Memory hygiene only.
func (c *cache) evict(r member.Revocation) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch r.Scope {
	case member.ScopeMember:
		for k := range c.byMember[member.ID(r.Target)] {
			c.drop(k, c.m[k])
		}
	case member.ScopeSession:
		if h, err := secret.ParseHash(r.Target); err == nil {
			for k := range c.byHash[h] {
				c.drop(k, c.m[k])
			}
		}
	default:
		clear(c.m)
		clear(c.byMember)
		clear(c.byHash)
	}
}

// drop needs mu.
func (c *cache) drop(k cacheKey, e *cached) {
	delete(c.m, k)
	unindex(c.byMember, e.p.Member.ID, k)
	unindex(c.byHash, e.p.Session, k)
}

func index[T comparable](m map[T]map[cacheKey]struct{}, id T, k cacheKey) {
	if m[id] == nil {
		m[id] = map[cacheKey]struct{}{}
	}
	m[id][k] = struct{}{}
}

func unindex[T comparable](m map[T]map[cacheKey]struct{}, id T, k cacheKey) {
	delete(m[id], k)
	if len(m[id]) == 0 {
		delete(m, id)
	}
}
