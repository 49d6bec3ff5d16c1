package session

import (
	"context"
	"slices"
	"time"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
)

// redisServer is one server of the session store. Its replica gets each write
// some time later, or never.
type redisServer struct {
	w       *world
	name    string
	up      bool
	recs    map[secret.Hash]Record
	order   []secret.Hash // for listing in the same order each time
	replica *redisServer
}

func (w *world) newRedis(name string) *redisServer {
	return &redisServer{w: w, name: name, up: true, recs: map[secret.Hash]Record{}}
}

// write runs on the server, and later on its replica while it still is one.
func (s *redisServer) write(fn func(*redisServer)) {
	fn(s)
	if r := s.replica; r != nil {
		s.w.after(s.w.span(0, s.w.plan.replicaLag), func() {
			if s.replica == r {
				fn(r)
			}
		})
	}
}

func (s *redisServer) set(r Record) {
	if _, ok := s.recs[r.Hash]; !ok {
		s.order = append(s.order, r.Hash)
	}
	s.recs[r.Hash] = r
}

func (s *redisServer) remove(h secret.Hash) {
	delete(s.recs, h)
	s.order = slices.DeleteFunc(s.order, func(o secret.Hash) bool { return o == h })
}

func (s *redisServer) flush() {
	s.w.logf("%s: flushed", s.name)
	clear(s.recs)
	s.order = nil
}

const redisTimeout = 250 * time.Millisecond

// nodeStore is the session store as one node reaches it.
type nodeStore struct{ n *node }

func redisCall[T any](n *node, serve func(*redisServer) (T, error)) (T, error) {
	s := n.redis
	return call(n, n.w.plan.redis, redisTimeout, func() bool { return s.up && !n.redisCut }, func() (T, error) { return serve(s) })
}

// Create implements Store.
func (s nodeStore) Create(_ context.Context, r Record) error {
	_, err := redisCall(s.n, func(s *redisServer) (struct{}, error) {
		s.write(func(s *redisServer) { s.set(r) })
		return struct{}{}, nil
	})
	return err
}

// Get implements Store.
func (s nodeStore) Get(_ context.Context, h secret.Hash) (Record, error) {
	return redisCall(s.n, func(s *redisServer) (Record, error) {
		r, ok := s.recs[h]
		if !ok {
			return Record{}, ErrNotFound
		}
		return r, nil
	})
}

// Past implements Store. The model has no sessions that run out.
func (s nodeStore) Past(ctx context.Context, h secret.Hash) (Record, error) { return s.Get(ctx, h) }

// Touch implements Store.
func (s nodeStore) Touch(_ context.Context, uses []Use) error {
	_, err := redisCall(s.n, func(s *redisServer) (struct{}, error) {
		for _, u := range uses {
			s.write(func(s *redisServer) { s.touch(u) })
		}
		return struct{}{}, nil
	})
	return err
}

func (s *redisServer) touch(u Use) {
	r, ok := s.recs[u.Hash]
	switch {
	case ok && r.LastSeen.Before(u.Seen):
		r.LastSeen = u.Seen
		s.recs[u.Hash] = r
	case !ok && s.w.broken == touchCreates:
		s.w.logf("%s: a touch brings a session back", s.name)
		if x := s.w.session(u.Hash); x != nil && x.endSeq != 0 {
			s.w.violate("C6: a touch brought the record of an ended session back, without end")
		}
	}
}

// Delete implements Store.
func (s nodeStore) Delete(_ context.Context, h secret.Hash) error {
	_, err := redisCall(s.n, func(s *redisServer) (struct{}, error) {
		s.write(func(s *redisServer) { s.lose(h) })
		return struct{}{}, nil
	})
	return err
}

// lose deletes a record, which must be one of an ended session (C7).
func (s *redisServer) lose(h secret.Hash) {
	if x := s.w.session(h); x != nil && x.endSeq == 0 {
		s.w.violate("(3) session s%d of %s epoch %d was deleted although nothing ended it", x.name, x.who.id, x.epoch)
	}
	s.remove(h)
}

// DeleteMember implements Store.
func (s nodeStore) DeleteMember(_ context.Context, id member.ID, below int64) (int, error) {
	return redisCall(s.n, func(s *redisServer) (n int, err error) {
		for _, h := range slices.Clone(s.order) {
			if r := s.recs[h]; r.Member == id && (r.Epoch < below || s.w.broken == rowWithoutEpoch) {
				s.w.logf("%s: session of %s epoch %d deleted", s.name, id, r.Epoch)
				s.write(func(s *redisServer) { s.lose(h) })
				n++
			}
		}
		return n, nil
	})
}

// List implements Store.
func (s nodeStore) List(_ context.Context, id member.ID) ([]Record, error) {
	return redisCall(s.n, func(s *redisServer) (out []Record, err error) {
		for _, h := range s.order {
			if r := s.recs[h]; r.Member == id {
				out = append(out, r)
			}
		}
		return out, nil
	})
}

// session finds what the model knows of a session; nil for one whose sign-in was
// never answered.
func (w *world) session(h secret.Hash) *sess {
	for _, s := range w.sessions {
		if s.hash == h {
			return s
		}
	}
	return nil
}

var _ Store = nodeStore{}
