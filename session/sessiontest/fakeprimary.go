package sessiontest

import (
	"context"
	"sync"
	"time"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
)

// Rows is a revocation log without a registry.
type Rows interface {
	// Revocations returns at most limit rows after a number, in order.
	Revocations(ctx context.Context, after int64, limit int) ([]member.Revocation, error)
	LastRevocation(ctx context.Context) (int64, error)
}

// FakePrimary is a registry of nodes in memory around a log: the smallest thing
// that behaves like the SQL primary. Safe for concurrent use.
type FakePrimary struct {
	Rows
	Now func() time.Time // time.Now when nil

	mu       sync.Mutex
	nodes    map[string]session.Node
	finished map[int64]bool
}

func (f *FakePrimary) now() time.Time {
	if f.Now != nil {
		return f.Now()
	}
	return time.Now()
}

// Join implements session.Registry.
func (f *FakePrimary) Join(ctx context.Context, n session.Node) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	last, err := f.LastRevocation(ctx)
	if err != nil {
		return err
	}
	n.Applied = min(n.Applied, last)
	if f.nodes == nil {
		f.nodes = map[string]session.Node{}
	}
	n.Seen = f.now()
	f.nodes[n.ID] = n
	return nil
}

// Leave implements session.Registry.
func (f *FakePrimary) Leave(_ context.Context, id string) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.nodes, id)
	return nil
}

// Nodes implements session.Registry. It is down when the log is.
func (f *FakePrimary) Nodes(ctx context.Context) ([]session.Node, error) {
	if _, err := f.LastRevocation(ctx); err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []session.Node
	for _, n := range f.nodes {
		out = append(out, n)
	}
	return out, nil
}

// Expel implements session.Registry.
func (f *FakePrimary) Expel(_ context.Context, silent time.Duration) (n int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for id, node := range f.nodes {
		if f.now().Sub(node.Seen) > silent {
			delete(f.nodes, id)
			n++
		}
	}
	return n, nil
}

// Lease implements session.Log.
func (f *FakePrimary) Lease(ctx context.Context, node string, applied int64, limit int) (session.Batch, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n, ok := f.nodes[node]
	if !ok {
		return session.Batch{}, session.ErrNotRegistered
	}
	last, err := f.LastRevocation(ctx)
	if err != nil {
		return session.Batch{}, err
	}
	// One snapshot: rows that came after Last was read are not seen yet.
	rows, err := f.Revocations(ctx, applied, int(max(0, min(int64(limit), last-applied))))
	if err != nil {
		return session.Batch{}, err
	}
	n.Applied, n.Seen = min(max(n.Applied, applied), last), f.now()
	f.nodes[node] = n
	return session.Batch{Rows: rows, Last: last}, nil
}

// Unfinished implements session.Finisher.
func (f *FakePrimary) Unfinished(ctx context.Context, limit int) ([]member.Revocation, error) {
	rows, err := f.Revocations(ctx, 0, 1<<30)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []member.Revocation
	for _, r := range rows {
		if r.Kind == member.End && !f.finished[r.Seq] && len(out) < limit {
			out = append(out, r)
		}
	}
	return out, nil
}

// Finish implements session.Finisher.
func (f *FakePrimary) Finish(_ context.Context, seqs ...int64) error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.finished == nil {
		f.finished = map[int64]bool{}
	}
	for _, s := range seqs {
		f.finished[s] = true
	}
	return nil
}

// Interface guards.
var (
	_ session.Log      = (*FakePrimary)(nil)
	_ session.Registry = (*FakePrimary)(nil)
	_ session.Finisher = (*FakePrimary)(nil)
)
