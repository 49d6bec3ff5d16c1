package session

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// UnconfirmedError names the registered nodes that have not acknowledged a row.
type UnconfirmedError struct{ Nodes []string }

func (e *UnconfirmedError) Error() string {
	if len(e.Nodes) == 1 {
		return fmt.Sprintf("session: node %q has not confirmed", e.Nodes[0])
	}
	return fmt.Sprintf("session: nodes %q have not confirmed", e.Nodes)
}

// Confirm returns nil only when every registered node has acknowledged rows up to
// seq. Unlike after [Publisher.Barrier], time alone is no answer: a node that lost
// its lease admits nobody by its cache, but still does by asking the stores. One
// that is silent is expelled, by the other nodes or here; before it serves from
// the registry's point of view again it joins and reads what it missed. After ten
// seconds it is an [*UnconfirmedError].
func (p *Publisher) Confirm(ctx context.Context, seq int64) error {
	ctx, cancel := context.WithTimeout(ctx, barrierWait)
	defer cancel()
	p.wake()
	expel := p.boot() // from the start: a process that has not looked before knows of nobody that he is silent
	var behind []string
	for {
		nodes, err := p.read(ctx)
		if err == nil {
			behind = nil
			for _, n := range nodes {
				if n.Applied < seq {
					behind = append(behind, n.Name)
				}
			}
			if len(behind) == 0 {
				return nil
			}
		}
		if ctx.Err() != nil {
			if len(behind) == 0 {
				return fmt.Errorf("session: read the registry: %w", errors.Join(err, ctx.Err()))
			}
			return &UnconfirmedError{behind}
		}
		if now := p.boot(); now >= expel {
			expel = now + time.Second
			ectx, cancel := context.WithTimeout(ctx, readTimeout)
			_, _ = p.Registry.Expel(ectx, expelAfter) // tried again in a second; the reading above decides
			cancel()
		}
	}
}

// Confirm is [Publisher.Confirm], this node included.
func (c *Cutoff) Confirm(ctx context.Context, seq int64) error {
	c.hurry()
	return c.publisher.Confirm(ctx, seq)
}

var (
	_ Confirmer = (*Cutoff)(nil)
	_ Confirmer = (*Publisher)(nil)
)
