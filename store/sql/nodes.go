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

// The registry and the lease use a pool of their own, the caller's context and
// no retry: a lease is 750 ms, a retry here would take two seconds, and the loop
// that calls tries again by itself.

const (
	// serverClock is the server's time in milliseconds.
	serverClock = "(extract(epoch FROM clock_timestamp()) * 1000)::bigint"

	// leaseRows follows FROM: the counter and, beside it, at most $2 rows after $1.
	// One statement reads one snapshot, and the counter is raised in the
	// transaction that writes the row: what the counter has counted and is not
	// among the rows is either beyond the limit or was swept, and shows as a gap.
	leaseRows = ` revocation_counter c LEFT JOIN (
			SELECT seq, kind, scope, target, epoch, reason, made FROM revocations WHERE seq > $1 ORDER BY seq LIMIT $2
		) r ON 1 = 1 WHERE c.one = 1 ORDER BY r.seq`
	leaseColumns = `c.seq, coalesce(r.seq, 0), coalesce(r.kind, ''), coalesce(r.scope, ''), coalesce(r.target, ''),
		coalesce(r.epoch, 0), coalesce(r.reason, ''), coalesce(r.made, 0)`

	// leaseSQLite only reads: the registry is in memory.
	leaseSQLite = "SELECT 'on', " + leaseColumns + " FROM" + leaseRows

	// leasePostgres registers the call and reads, in one snapshot that is taken
	// when the statement begins, so never before the caller sent it: a row that is
	// not in it was committed later than the moment from which the lease counts.
	// Should the UPDATE wait for the row of the node, because somebody expels it,
	// then it looks again at what the other left there: the node is gone, nothing
	// is noted and no row is answered; or it is there, and the other, who waits for
	// us in turn, looks again and finds that it has called (READ COMMITTED). The
	// reads keep the older snapshot, which is the safe side.
	//
	// Nobody has applied rows that do not exist: after a restore of an older
	// backup the number that a node had reached stands for other rows to come.
	leasePostgres = `WITH me AS (
			UPDATE nodes SET applied = least(greatest(applied, $1), counter.seq), calls = calls + 1, seen = ` + serverClock + `
			FROM revocation_counter counter WHERE id = $3 AND counter.one = 1 RETURNING id
		) SELECT current_setting('synchronous_commit'), ` + leaseColumns + ` FROM me CROSS JOIN` + leaseRows
)

// Lease implements session.Log. It waits for nobody but an Expel of this node,
// and for the disk. Besides session.ErrNotRegistered it answers [ErrUnfit].
func (d *DB) Lease(ctx context.Context, node string, applied int64, limit int) (session.Batch, error) {
	if d.engine == engineSQLite {
		b, _, err := d.lease(ctx, leaseSQLite, applied, limit)
		if err == nil && !d.nodes.note(node, applied, b.Last, d.now()) {
			err = session.ErrNotRegistered
		}
		if err != nil {
			return session.Batch{}, err
		}
		return b, nil
	}
	b, durable, err := d.lease(ctx, leasePostgres, applied, limit, node)
	if err != nil {
		return session.Batch{}, err
	}
	if f, ok := d.guard.(*fitness); ok {
		f.forgets.Store(!durable)
	}
	if !durable {
		return session.Batch{}, errForgets
	}
	return b, nil
}

// lease runs one of the two statements. An error of COMMIT is among its errors:
// both drivers report it before the last row has been passed over.
func (d *DB) lease(ctx context.Context, query string, args ...any) (b session.Batch, durable bool, err error) {
	rows, err := d.leases.QueryContext(ctx, query, args...)
	if err != nil {
		return session.Batch{}, false, fmt.Errorf("sql: lease: %w", err)
	}
	defer func() { _ = rows.Close() }() // rows.Err says what matters
	registered := false
	for rows.Next() {
		var r member.Revocation
		var made int64
		var commit string
		if err := rows.Scan(&commit, &b.Last, &r.Seq, &r.Kind, &r.Scope, &r.Target, &r.Epoch, &r.Reason, &made); err != nil {
			return session.Batch{}, false, fmt.Errorf("sql: lease: %w", err)
		}
		registered, durable = true, commit != "off"
		if r.Seq != 0 {
			r.At = at(made)
			b.Rows = append(b.Rows, r)
		}
	}
	if err := rows.Err(); err != nil {
		return session.Batch{}, false, fmt.Errorf("sql: lease: %w", err)
	}
	if !registered {
		return session.Batch{}, false, session.ErrNotRegistered
	}
	return b, durable, nil
}

// LastRevocation is the number of the newest committed row, 0 when there is none.
func (d *DB) LastRevocation(ctx context.Context) (int64, error) {
	var seq int64
	if err := d.leases.QueryRowContext(ctx, "SELECT seq FROM revocation_counter WHERE one = 1").Scan(&seq); err != nil {
		return 0, fmt.Errorf("sql: last revocation: %w", err)
	}
	return seq, nil
}

// Join implements session.Registry.
func (d *DB) Join(ctx context.Context, n session.Node) error {
	if d.engine == engineSQLite {
		last, err := d.LastRevocation(ctx)
		if err != nil {
			return err
		}
		n.Applied = min(n.Applied, last)
		d.nodes.join(n, d.now())
		return nil
	}
	_, err := d.leases.ExecContext(ctx, `INSERT INTO nodes (id, name, keys, applied, calls, seen)
		SELECT $1, $2, $3, least($4, seq), 0, `+serverClock+` FROM revocation_counter WHERE one = 1`, n.ID, n.Name, n.Keys, n.Applied)
	if err != nil {
		return fmt.Errorf("sql: join: %w", err)
	}
	return nil
}

// Leave implements session.Registry.
func (d *DB) Leave(ctx context.Context, id string) error {
	if d.engine == engineSQLite {
		d.nodes.leave(id)
		return nil
	}
	if _, err := d.leases.ExecContext(ctx, "DELETE FROM nodes WHERE id = $1", id); err != nil {
		return fmt.Errorf("sql: leave: %w", err)
	}
	return nil
}

// Nodes implements session.Registry.
func (d *DB) Nodes(ctx context.Context) ([]session.Node, error) {
	if d.engine == engineSQLite {
		return d.nodes.list(), nil
	}
	nodes, _, err := d.readNodes(ctx)
	return nodes, err
}

// readNodes answers the registry and, for each node, how often it has called.
func (d *DB) readNodes(ctx context.Context) (nodes []session.Node, calls []int64, err error) {
	rows, err := d.leases.QueryContext(ctx, "SELECT id, name, keys, applied, calls, seen FROM nodes ORDER BY id")
	if err != nil {
		return nil, nil, fmt.Errorf("sql: nodes: %w", err)
	}
	defer func() { _ = rows.Close() }() // rows.Err says what matters
	for rows.Next() {
		var n session.Node
		var c, seen int64
		if err := rows.Scan(&n.ID, &n.Name, &n.Keys, &n.Applied, &c, &seen); err != nil {
			return nil, nil, fmt.Errorf("sql: nodes: %w", err)
		}
		n.Seen = at(seen)
		nodes, calls = append(nodes, n), append(calls, c)
	}
	if err := rows.Err(); err != nil {
		return nil, nil, fmt.Errorf("sql: nodes: %w", err)
	}
	return nodes, calls, nil
}

// watched is what this process has seen of the nodes: how often each had called,
// and when that was first seen. Safe for concurrent use.
type watched struct {
	mu sync.Mutex
	m  map[string]sighting
}

type sighting struct {
	calls int64
	seen  time.Time // a failover may take a number of calls back, and hardly the same time with it
	since time.Time
}

// Expel implements session.Registry. A node is silent when this process saw its
// calls stand still for longer than silent by its own monotonic clock, so the
// first Expel of a process never finds one. The times in the registry are not
// compared with a clock: a step of the server's clock would make every node look
// silent at once, and a node that holds a lease would not be waited for.
func (d *DB) Expel(ctx context.Context, silent time.Duration) (n int, err error) {
	if d.engine == engineSQLite {
		return d.nodes.expel(silent, d.now()), nil
	}
	nodes, calls, err := d.readNodes(ctx)
	if err != nil {
		return 0, err
	}
	for _, s := range d.watching.silent(nodes, calls, silent, d.now()) {
		// The node may call at this very moment: see leasePostgres.
		r, err := d.leases.ExecContext(ctx, "DELETE FROM nodes WHERE id = $1 AND calls = $2 AND seen = $3", s.id, s.calls, ms(s.seen))
		if err != nil {
			return n, fmt.Errorf("sql: expel: %w", err)
		}
		gone, err := r.RowsAffected()
		if err != nil {
			return n, fmt.Errorf("sql: expel: %w", err)
		}
		n += int(gone)
	}
	return n, nil
}

type silentNode struct {
	id string
	sighting
}

// silent notes a reading of the registry that ended before now, and answers the
// nodes whose calls have stood still since.
func (w *watched) silent(nodes []session.Node, calls []int64, silent time.Duration, now time.Time) (out []silentNode) {
	w.mu.Lock()
	defer w.mu.Unlock()
	next := make(map[string]sighting, len(nodes))
	for i, n := range nodes {
		s, ok := w.m[n.ID]
		if !ok || s.calls != calls[i] || !s.seen.Equal(n.Seen) {
			s = sighting{calls: calls[i], seen: n.Seen, since: now}
		}
		next[n.ID] = s
		if now.Sub(s.since) > silent {
			out = append(out, silentNode{n.ID, s})
		}
	}
	w.m = next
	return out
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

// finishMany locks the rows in the order of their numbers: several nodes finish
// the same ones at once.
const finishMany = `WITH due AS MATERIALIZED (
		SELECT seq FROM revocations WHERE seq = ANY($1::bigint[]) AND finished = 0 ORDER BY seq FOR NO KEY UPDATE
	) UPDATE revocations SET finished = 1 FROM due WHERE revocations.seq = due.seq`

// Finish implements session.Finisher.
func (d *DB) Finish(ctx context.Context, seqs ...int64) error {
	if len(seqs) == 0 {
		return nil
	}
	return d.update(ctx, func(t *sql.Tx) error {
		if d.engine == enginePostgres {
			_, err := d.exec(ctx, t, "finish", finishMany, seqs)
			return err
		}
		for _, seq := range seqs {
			if _, err := d.exec(ctx, t, "finish", "UPDATE revocations SET finished = 1 WHERE seq = $1 AND finished = 0", seq); err != nil {
				return err
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
