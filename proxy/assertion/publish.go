package assertion

import (
	"context"
	"encoding/json"
	"net/http"
	"strconv"
	"time"
)

const (
	rereadEvery   = time.Second
	rereadTimeout = 2 * time.Second
)

// ServeHTTP answers the key set (RFC 7517 section 5). It reads what is stored, at most
// once a second: the first key of an algorithm signs on another node before any row
// could have told this one. While the store cannot answer, the set from before stays.
func (r *Ring) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	if q.Method != http.MethodGet && q.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		w.WriteHeader(http.StatusMethodNotAllowed)
		return
	}
	h := r.reread(q.Context())
	if h == nil {
		w.Header().Set("Retry-After", "5")
		w.Header().Set("Cache-Control", "no-store")
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	set := struct {
		Keys []jwk `json:"keys"`
	}{[]jwk{}}
	now := r.now()
	for _, a := range Algorithms() {
		for _, k := range h.published(a, now) {
			set.Keys = append(set.Keys, k.jwk)
		}
	}
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Header().Set("Cache-Control", "public, max-age="+strconv.Itoa(int(PublishedFor/time.Second)))
	w.Header().Set("X-Content-Type-Options", "nosniff")
	_ = json.NewEncoder(w).Encode(set) // the client is gone when this fails
}

func (r *Ring) reread(ctx context.Context) *held {
	r.mu.Lock()
	defer r.mu.Unlock()
	if gone := r.now().Sub(r.ended); r.some && gone >= 0 && gone < rereadEvery {
		return r.held.Load()
	}
	// On its own: whoever began it may hang up while others wait.
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), rereadTimeout)
	defer cancel()
	_ = r.load(ctx) // what is held is answered; a store that is down says so elsewhere
	return r.held.Load()
}

var _ http.Handler = (*Ring)(nil)
