package upstream

import (
	"hash/fnv"
	"net/http"
	"strings"
)

// balancer says what keeps requests together: the value of a header or of a cookie
// that the application set. Both empty: nothing.
type balancer struct{ header, cookie string }

func newBalancer(s string) balancer {
	if name, ok := strings.CutPrefix(s, "header:"); ok {
		return balancer{header: http.CanonicalHeaderKey(name)}
	}
	if name, ok := strings.CutPrefix(s, "cookie:"); ok {
		return balancer{cookie: name}
	}
	return balancer{}
}

// maxKey bounds what is hashed of a value that a client chose.
const maxKey = 1 << 10

// key is what a request is kept together by, "" for nothing. Clients choose it: at
// worst they choose their own upstream.
func (b balancer) key(req *http.Request) string {
	k := ""
	switch {
	case b.header != "":
		k = req.Header.Get(b.header)
	case b.cookie != "":
		if c, err := req.Cookie(b.cookie); err == nil {
			k = c.Value
		}
	}
	return k[:min(len(k), maxKey)]
}

// pick chooses an upstream. Under mu. Those that are out are used only when all are:
// no request fails because of health alone. not is the one that has just failed.
func (p *Pool) pick(req *http.Request, not *target) *target {
	if len(p.targets) == 1 {
		return p.targets[0]
	}
	if k := p.balance.key(req); k != "" {
		return p.sticky(k, not)
	}
	p.turn++
	var best *target
	for i := range p.targets {
		t := p.targets[(i+p.turn)%len(p.targets)]
		if best == nil || p.better(t, best, not) {
			best = t
		}
	}
	return best
}

// better compares by: not the one that failed, health, load.
func (p *Pool) better(a, b, not *target) bool {
	if (a == not) != (b == not) {
		return b == not
	}
	if x, y := p.rank(a), p.rank(b); x != y {
		return x < y
	}
	return a.load() < b.load()
}

// sticky is rendezvous hashing: when an upstream goes, only what was at it moves, and
// every node of the gateway chooses alike.
func (p *Pool) sticky(key string, not *target) *target {
	var best *target
	var bestScore uint64
	for _, t := range p.targets {
		h := fnv.New64a()
		_, _ = h.Write([]byte(t.dial))
		_, _ = h.Write([]byte{0})
		_, _ = h.Write([]byte(key))
		score := mix(h.Sum64())
		switch {
		case best == nil:
		case (t == not) != (best == not):
			if t == not {
				continue
			}
		case p.rank(t) != p.rank(best):
			if p.rank(t) > p.rank(best) {
				continue
			}
		case score <= bestScore:
			continue
		}
		best, bestScore = t, score
	}
	return best
}

// mix spreads FNV's weak upper bits (the finalizer of splitmix64).
func mix(x uint64) uint64 {
	x ^= x >> 30
	x *= 0xbf58476d1ce4e5b9
	x ^= x >> 27
	x *= 0x94d049bb133111eb
	return x ^ x>>31
}
