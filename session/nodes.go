package session

import (
	"context"
	"errors"
	"time"

	"github.com/ssogate/ssogate/member"
)

// Node is one registration of one run of a process (protocols C8): a restarted
// process is a new node, and so is one that was expelled and comes back.
type Node struct {
	ID      string    // random, never used twice
	Name    string    // what operators call it; a label, not a key
	Keys    string    // which keys it has, see NodeKeys
	Applied int64     // the last row that it has acknowledged; never beyond the log's end
	Seen    time.Time // its last call, by the primary's clock
}

// Batch is what one call of [Log.Lease] brings: rows in order, and the number of
// the newest row, as of one snapshot.
type Batch struct {
	Rows []member.Revocation
	Last int64
}

// ErrNotRegistered means the registry does not know the node: it was expelled
// while it was silent, or never joined. It holds no lease and must join again.
var ErrNotRegistered = errors.New("session: node is not registered")

// Log is the revocation log on the SQL primary as one node reads it. store/sql
// is the real one; it passes sessiontest.Primary.
type Log interface {
	// LastRevocation is the number of the newest row, 0 when there is none.
	LastRevocation(ctx context.Context) (int64, error)
	// Lease is the one call of the lease loop: a single committed statement that
	// notes that the node is there and has applied every row up to a number, and
	// returns at most limit rows after it. [ErrNotRegistered] when the node is
	// not in the registry at that moment; nothing was noted then. It never
	// retries: the caller's lease is shorter than any retry (C5).
	Lease(ctx context.Context, node string, applied int64, limit int) (Batch, error)
}

// Registry is the list of nodes on the SQL primary (C8). Embedded it is kept in
// memory: there is one process.
type Registry interface {
	// Join adds the node. When it answers nil the registration is committed.
	Join(ctx context.Context, n Node) error
	// Leave removes the node: its last request and stream have ended. An unknown
	// one is no error.
	Leave(ctx context.Context, id string) error
	// Nodes lists all nodes, as of a moment after the call began.
	Nodes(ctx context.Context) ([]Node, error)
	// Expel removes the nodes whose last call is longer ago than silent and
	// answers their number. A node that calls at that very moment either stays or
	// is told [ErrNotRegistered]: never neither. No step of a wall clock may make
	// a node look silent (C9): a registry shared by processes therefore counts
	// from the moment at which the caller's process first saw that last call, and
	// finds a dead node only if it is asked again and again.
	Expel(ctx context.Context, silent time.Duration) (int, error)
}

// Finisher remembers which rows still have tidying to do (C2): any node takes
// over what a crashed one left.
type Finisher interface {
	// Unfinished lists at most limit End rows not yet finished, oldest first.
	Unfinished(ctx context.Context, limit int) ([]member.Revocation, error)
	// Finish marks rows as finished. Unknown and finished ones are no error.
	Finish(ctx context.Context, seqs ...int64) error
}

// Wakes carries wake-ups between nodes. They only save waiting for the next poll
// (C1): one that is lost, doubled or late changes nothing else. store/redis is
// the real one; a single process needs none.
type Wakes interface {
	// Wake tells all nodes that the log has grown. It gives up quickly.
	Wake(ctx context.Context) error
	// Listen calls woken for each wake-up until ctx ends, and reconnects by itself.
	Listen(ctx context.Context, woken func())
}
