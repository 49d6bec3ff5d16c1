package session

import (
	"context"
	"fmt"

	"github.com/ssogate/ssogate/member"
)

// take begins to apply the rows of one batch that were not begun yet. Numbers are
// dense, so a gap means that rows were swept while this node was away for very
// long: then nothing that it knows counts any more.
func (c *Cutoff) take(ctx context.Context, b Batch) error {
	c.metrics.last.Store(b.Last)
	if b.Last < c.begun { // which is never behind what was applied
		c.forget(ctx, b.Last)
	}
	for _, r := range b.Rows {
		if r.Seq <= c.begun {
			continue // its streams are being closed
		}
		if r.Seq > c.begun+1 {
			c.skip(ctx, r.Seq-1)
		}
		c.apply(ctx, r)
	}
	if len(b.Rows) == 0 && b.Last > c.begun {
		c.skip(ctx, b.Last)
	}
	return c.readAnew(ctx)
}

// skip stands in for rows that cannot be read any more: everybody is asked again.
func (c *Cutoff) skip(ctx context.Context, upTo int64) {
	c.logger.Warn("rows of the revocation log are missing: everybody is asked again", "after", c.begun, "up_to", upTo)
	c.apply(ctx, member.Revocation{Seq: upTo, Kind: member.Recheck, Scope: member.ScopeAll})
}

// forget begins anew after the log went back: the database was restored, or
// failed over to a server that had not received everything, which the guarantee
// excludes (C12). Numbers of two histories cannot be compared, so nothing that
// was read under the old one may be used, and who has a stream open cannot be known.
func (c *Cutoff) forget(ctx context.Context, last int64) {
	c.logger.Error("the revocation log went back: committed rows are lost; closing all streams and reading everything again",
		"from", c.begun, "to", last)
	c.lease.void()
	c.cache.clear()
	c.floors.reset()
	c.streams.CutAll(ctx, "database restored")
	c.mu.Lock()
	defer c.mu.Unlock()
	c.history++
	c.applied, c.begun, c.reached, c.unread = last, last, nil, nil
	clear(c.done)
	close(c.changed)
	c.changed = make(chan struct{})
}

// apply begins to make one row true here. The order is the guarantee: floor first
// (no new hit), then streams and requests in flight, then the acknowledgement.
func (c *Cutoff) apply(ctx context.Context, r member.Revocation) {
	from := c.begun + 1
	c.begun = r.Seq
	switch r.Kind {
	case member.Reload:
		c.unread = append(c.unread, r)
		return
	case member.End:
		c.tidier.notice()
	case member.Recheck:
	}
	c.cut(ctx, from, r)
}

// readAnew acts on the Reload rows, in order, after the batch's other rows: what
// cannot be read must not keep streams open that a row behind it ends. After an
// error it is tried again with the next batch; until then nothing from that row on
// is acknowledged, and the lease runs out (C11).
func (c *Cutoff) readAnew(ctx context.Context) error {
	for len(c.unread) > 0 {
		r := c.unread[0]
		if c.reload != nil {
			rctx, cancel := context.WithTimeout(ctx, reloadTimeout)
			err := c.reload(rctx, r.Target)
			cancel()
			if err != nil {
				return fmt.Errorf("session: reload %s: %w", r.Target, err)
			}
		}
		c.unread = c.unread[1:]
		if r.Target == member.ReloadKeys || r.Target == member.ReloadMetadata {
			c.finish(c.history, r.Seq, r.Seq)
			continue
		}
		r.Kind, r.Scope, r.Target = member.Recheck, member.ScopeAll, ""
		c.cut(ctx, r.Seq, r)
	}
	return nil
}

// cut raises the floor now and closes streams beside the loop: a recheck that
// asks a slow store for thousands of streams, or a peer that does not read, must
// not hold up the deactivation behind it. Closing is bounded; what has not been
// answered by then is closed. Acknowledged is in order all the same: the rows from
// a number to r's are true once it is done.
func (c *Cutoff) cut(ctx context.Context, from int64, r member.Revocation) {
	c.floors.raise(r)
	history := c.history
	c.spawn(func() {
		ctx, cancel := context.WithTimeout(ctx, c.cutWait)
		defer cancel()
		c.streams.Cut(ctx, r)
		c.finish(history, from, r.Seq)
	})
}

// finish notes that the rows of a span are true here, and that all up to there
// are once those before it are too. The primary learns it with the next call.
func (c *Cutoff) finish(history, from, to int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if history != c.history {
		return
	}
	c.done[from] = to
	before := c.applied
	for to, ok := c.done[c.applied+1]; ok; to, ok = c.done[c.applied+1] {
		delete(c.done, c.applied+1)
		c.applied = to
	}
	if c.applied != before {
		close(c.changed)
		c.changed = make(chan struct{})
		c.hurry()
	}
}
