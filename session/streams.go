package session

import (
	"context"

	"github.com/ssogate/ssogate/member"
)

// Streams cuts what is already running. proxy.Live is the real one.
type Streams interface {
	// Cut cancels every request in flight and closes every stream that the
	// revocation concerns, and returns when that is done (closing has a
	// deadline of its own: a peer that does not read is reset, C10). For a
	// Recheck it closes those whose route now refuses.
	Cut(ctx context.Context, r member.Revocation)
	// CutAll closes every stream: the lease was lost for longer than the grace.
	CutAll(ctx context.Context, reason string)
}
