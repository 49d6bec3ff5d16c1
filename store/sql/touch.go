package sql

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"slices"

	"github.com/ssogate/ssogate/session"
)

// touchBatch uses are written per transaction, for the same reason as sweepBatch.
const touchBatch = 500

// touchMany first locks the rows in the order of their names: two nodes write
// back the same sessions at the same time, and an UPDATE alone locks them in
// whatever order the join meets them. A row that another node changed meanwhile
// is compared again once it is locked (READ COMMITTED).
const touchMany = `WITH due AS MATERIALIZED (
		SELECT s.hash, u.seen FROM unnest($1::text[], $2::bigint[]) AS u (hash, seen)
		JOIN sessions s ON s.hash = u.hash AND s.last_seen < u.seen
		ORDER BY s.hash FOR NO KEY UPDATE OF s
	) UPDATE sessions SET last_seen = due.seen FROM due WHERE sessions.hash = due.hash`

// Touch implements session.Store: one statement per 500 uses on PostgreSQL, one
// transaction on SQLite. Each batch is all or nothing.
func (s *Sessions) Touch(ctx context.Context, uses []session.Use) error {
	for batch := range slices.Chunk(latest(uses), touchBatch) {
		if err := s.update(ctx, "touch", func(tx *sql.Tx) error { return s.touch(ctx, tx, batch) }); err != nil {
			return fmt.Errorf("sql: touch sessions: %w", err)
		}
	}
	return nil
}

func (s *Sessions) touch(ctx context.Context, tx *sql.Tx, batch []session.Use) error {
	if s.db.engine == enginePostgres {
		hashes, seen := make([]string, len(batch)), make([]int64, len(batch))
		for i, u := range batch {
			hashes[i], seen[i] = u.Hash.String(), ms(u.Seen)
		}
		_, err := tx.ExecContext(ctx, touchMany, hashes, seen)
		return err
	}
	one, err := tx.PrepareContext(ctx, "UPDATE sessions SET last_seen = $1 WHERE hash = $2 AND last_seen < $1")
	if err != nil {
		return err
	}
	defer func() { _ = one.Close() }() // ends with the transaction anyway
	for _, u := range batch {
		if _, err := one.ExecContext(ctx, ms(u.Seen), u.Hash.String()); err != nil {
			return err
		}
	}
	return nil
}

// latest keeps the last use of each session, in the order of their names.
func latest(uses []session.Use) []session.Use {
	uses = slices.Clone(uses)
	slices.SortFunc(uses, func(a, b session.Use) int {
		return cmp.Or(slices.Compare(a.Hash[:], b.Hash[:]), b.Seen.Compare(a.Seen))
	})
	return slices.CompactFunc(uses, func(a, b session.Use) bool { return a.Hash == b.Hash })
}
