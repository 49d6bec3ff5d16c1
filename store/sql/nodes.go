package sql

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
)

// memoryNodes is the registry of the embedded mode. Safe for concurrent use; the
// zero value is empty.
type memoryNodes struct {
	mu sync.Mutex
	m  map[string]session.Node
}

// Join implements session.Registry.
func (d *DB) Join(_ context.Context, n session.Node) error {
	d.nodes.mu.Lock()
	defer d.nodes.mu.Unlock()
	if d.nodes.m == nil {
		d.nodes.m = map[string]session.Node{}
	}
	n.Seen = d.now()
	d.nodes.m[n.ID] = n
	return nil
}

// Leave implements session.Registry.
func (d *DB) Leave(_ context.Context, id string) error {
	d.nodes.mu.Lock()
	defer d.nodes.mu.Unlock()
	delete(d.nodes.m, id)
	return nil
}

// Nodes implements session.Registry.
func (d *DB) Nodes(context.Context) ([]session.Node, error) {
	d.nodes.mu.Lock()
	defer d.nodes.mu.Unlock()
	var out []session.Node
	for _, n := range d.nodes.m {
		out = append(out, n)
	}
	return out, nil
}

// Expel implements session.Registry.
func (d *DB) Expel(_ context.Context, silent time.Duration) (n int, err error) {
	d.nodes.mu.Lock()
	defer d.nodes.mu.Unlock()
	for id, node := range d.nodes.m {
		if d.now().Sub(node.Seen) > silent {
			delete(d.nodes.m, id)
			n++
		}
	}
	return n, nil
}

// Lease implements session.Log.
func (d *DB) Lease(ctx context.Context, node string, applied int64, limit int) (session.Batch, error) {
	rows, err := d.Revocations(ctx, applied, limit)
	if err != nil {
		return session.Batch{}, err
	}
	last := applied
	if len(rows) > 0 {
		last = rows[len(rows)-1].Seq
	}
	d.nodes.mu.Lock()
	defer d.nodes.mu.Unlock()
	n, ok := d.nodes.m[node]
	if !ok {
		return session.Batch{}, session.ErrNotRegistered
	}
	n.Applied, n.Seen = max(n.Applied, applied), d.now()
	d.nodes.m[node] = n
	return session.Batch{Rows: rows, Last: last}, nil
}

// Unfinished implements session.Finisher.
func (d *DB) Unfinished(ctx context.Context, limit int) ([]member.Revocation, error) {
	rows, err := d.reads.QueryContext(ctx,
		"SELECT seq, kind, scope, target, epoch, reason, made FROM revocations WHERE finished = 0 ORDER BY seq LIMIT $1", limit)
	if err != nil {
		return nil, fmt.Errorf("sql: unfinished: %w", err)
	}
	return scanRevocations(rows)
}

// Finish implements session.Finisher.
func (d *DB) Finish(ctx context.Context, seqs ...int64) error {
	return d.update(ctx, func(t *sql.Tx) error {
		for _, seq := range seqs {
			if _, err := t.ExecContext(ctx, "UPDATE revocations SET finished = 1 WHERE seq = $1 AND finished = 0", seq); err != nil {
				return fmt.Errorf("sql: finish: %w", err)
			}
		}
		return nil
	})
}

func scanRevocations(rows *sql.Rows) (out []member.Revocation, err error) {
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var r member.Revocation
		var made int64
		if err := rows.Scan(&r.Seq, &r.Kind, &r.Scope, &r.Target, &r.Epoch, &r.Reason, &made); err != nil {
			return nil, fmt.Errorf("sql: revocations: %w", err)
		}
		r.At = at(made)
		out = append(out, r)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("sql: revocations: %w", err)
	}
	return out, nil
}

// Interface guards.
var (
	_ session.Log      = (*DB)(nil)
	_ session.Registry = (*DB)(nil)
	_ session.Finisher = (*DB)(nil)
)
