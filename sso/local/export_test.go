package local

import "context"

// Drain does what Run would, until nothing waits.
func (s *Service) Drain(ctx context.Context) {
	for len(s.resets) > 0 {
		_ = s.sendReset(ctx, <-s.resets)
	}
}
