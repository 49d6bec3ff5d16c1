package local

import (
	"context"

	"github.com/alexedwards/argon2id"
)

// Drain does what Run would, until nothing waits.
func (s *Service) Drain(ctx context.Context) {
	for len(s.resets) > 0 {
		_ = s.sendReset(ctx, <-s.resets)
	}
}

// Flood fills every place for passwords that are compared, as guesses from thousands
// of addresses do. The answer ends it.
func (s *Service) Flood() (end func()) {
	for range cap(s.hasher.slots) {
		s.hasher.slots <- struct{}{}
	}
	s.hasher.waiting.Add(maxWaiting)
	return func() {
		s.hasher.waiting.Add(-maxWaiting)
		for range cap(s.hasher.slots) {
			<-s.hasher.slots
		}
	}
}

// NoHash is what the password of nobody is compared with.
func NoHash(p *argon2id.Params) string { return noHash(p) }
