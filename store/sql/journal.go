package sql

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/member"
)

// errOrder is a programmer's mistake: the counter must be locked last, or two
// transactions could wait for each other's locks, and hold up every cut-off.
var errOrder = errors.New("sql: nothing may be audited after Revoke in one transaction")

// Revoke implements member.Journal. The counter's row stays locked until this
// transaction ends, so the next number is given out only after this one is
// committed or rolled back: numbers are dense and in commit order (C1).
func (t *tx) Revoke(r member.Revocation) (int64, error) {
	if err := t.flush(); err != nil {
		return 0, err
	}
	t.revoked = true
	if r.At.IsZero() {
		r.At = t.now()
	}
	var seq int64
	if err := t.row("revocation counter", func(row *sql.Row) error { return row.Scan(&seq) },
		"UPDATE revocation_counter SET seq = seq + 1 WHERE one = 1 RETURNING seq"); err != nil {
		return 0, err
	}
	_, err := t.exec("revoke", "INSERT INTO revocations (seq, kind, scope, target, epoch, reason, made, finished) VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
		seq, string(r.Kind), string(r.Scope), r.Target, r.Epoch, r.Reason, ms(r.At), bit(r.Kind != member.End))
	return seq, err
}

// LatestRevocation implements member.Journal.
func (t *tx) LatestRevocation(scope member.RevocationScope, target string) (int64, error) {
	var seq int64
	scan := func(r *sql.Row) error { return r.Scan(&seq) }
	if scope == "" {
		return seq, t.row("revocation number", scan, "SELECT seq FROM revocation_counter WHERE one = 1")
	}
	err := t.row("latest revocation", scan,
		"SELECT coalesce(max(seq), 0) FROM revocations WHERE scope = $1 AND target = $2", string(scope), target)
	if errors.Is(err, member.ErrNotFound) {
		return 0, nil // a target that cannot be stored has no row
	}
	return seq, err
}

// EndedBefore implements member.Marks.
func (t *tx) EndedBefore(id member.ID, ref member.SessionRef) (int64, error) {
	all, one := ref.Logins(id)
	var seq int64
	err := t.row("ended before", func(r *sql.Row) error { return r.Scan(&seq) },
		`SELECT coalesce(max(seq), 0) FROM revocations
			WHERE kind = 'end' AND scope IN ('all', 'provider', 'logins')
			AND (scope, target) IN (VALUES ('all', ''), ('provider', $1), ('logins', $2), ('logins', $3))`,
		ref.Provider, all.Target(), one.Target())
	if errors.Is(err, member.ErrNotFound) {
		return 0, nil // what cannot be stored has no row
	}
	return seq, err
}

// SettingsVersion implements member.Marks.
func (t *tx) SettingsVersion() (int64, error) {
	var version int64
	return version, t.row("settings version", func(r *sql.Row) error { return r.Scan(&version) },
		"SELECT version FROM settings_version WHERE one = 1")
}

// EndSession implements member.Journal.
func (t *tx) EndSession(s member.EndedSession) error {
	_, err := t.exec("end session", `INSERT INTO ended_sessions (hash, member, until, reason) VALUES ($1, $2, $3, $4)
		ON CONFLICT (hash) DO NOTHING`, s.Hash, string(s.Member), ms(s.Until), s.Reason)
	return err
}

// SessionEnded implements member.Journal.
func (t *tx) SessionEnded(hash string) (bool, error) {
	return t.exists("session ended", "SELECT count(*) FROM ended_sessions WHERE hash = $1", hash)
}

// Audit implements member.Journal. The event is written at the end of the
// transaction, just before the revocation counter is locked.
func (t *tx) Audit(e audit.Event) error {
	if t.revoked {
		return errOrder
	}
	if e.Time.IsZero() {
		e.Time = t.now()
	}
	t.events = append(t.events, e.Clean())
	return nil
}

// flush appends the events to the chain. Reading the head is an UPDATE, so that
// the next writer waits for this one and links to what it wrote.
func (t *tx) flush() error {
	if err := t.flushTotals(); err != nil {
		return err
	}
	if len(t.events) == 0 {
		return nil
	}
	var seq int64
	var hash string
	if err := t.row("audit head", func(r *sql.Row) error { return r.Scan(&seq, &hash) },
		"UPDATE audit_head SET seq = seq + $1 WHERE one = 1 RETURNING seq, hash", len(t.events)); err != nil {
		return err
	}
	seq -= int64(len(t.events))
	for _, e := range t.events {
		seq++
		e.Seq = seq
		hash = audit.Hash(hash, e)
		detail := "" // most events have none
		if e.Detail != nil {
			b, err := json.Marshal(e.Detail)
			if err != nil {
				return fmt.Errorf("sql: audit detail: %w", err)
			}
			detail = string(b)
		}
		if _, err := t.exec("audit", `INSERT INTO audit (seq, made, kind, outcome, actor, target, provider, request_id, address, reason, detail, hash)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)`,
			e.Seq, e.Time.UnixMilli(), e.Kind, string(e.Outcome), e.Actor, e.Target, e.Provider, e.RequestID, e.Address, e.Reason, detail, hash); err != nil {
			return err
		}
	}
	t.events = nil
	_, err := t.exec("audit head", "UPDATE audit_head SET hash = $1 WHERE one = 1", hash)
	return err
}

// Record keeps an event that belongs to no change. It implements audit.Recorder.
func (d *DB) Record(ctx context.Context, e audit.Event) error {
	if e.Time.IsZero() {
		e.Time = d.now() // when it happened, not when a retry got through
	}
	return d.Update(ctx, func(tx member.Tx) error { return tx.Audit(e) })
}

// Revocations returns at most limit rows of the revocation log after a number,
// in order. It reads committed rows from the primary and does not retry: the
// caller's lease is shorter than any retry (C5).
func (d *DB) Revocations(ctx context.Context, after int64, limit int) ([]member.Revocation, error) {
	rows, err := d.reads.QueryContext(ctx,
		"SELECT seq, kind, scope, target, epoch, reason, made FROM revocations WHERE seq > $1 ORDER BY seq LIMIT $2", after, limit)
	if err != nil {
		return nil, fmt.Errorf("sql: revocations: %w", err)
	}
	return scanRevocations(rows)
}

// verifyBatch is how many events one read of VerifyAudit takes, so that a log
// of any length stays within the time limit of a single read.
const verifyBatch = 5000

// VerifyAudit walks the whole audit chain and answers how many events are true.
// An error wrapping audit.ErrBroken names the first that is not. Events written
// meanwhile are checked too.
func (d *DB) VerifyAudit(ctx context.Context) (n int, err error) {
	var v audit.Verifier
	for done := false; !done; {
		err := d.view(ctx, func(s *sql.Tx) error {
			next := v // the batch may be read again
			var err error
			if done, err = verifySome(ctx, s, &next); err != nil {
				return err
			}
			v = next
			return nil
		})
		if err != nil {
			return v.Count(), err
		}
	}
	return v.Count(), nil
}

// verifySome checks the next batch and, in the same snapshot, the head.
func verifySome(ctx context.Context, s *sql.Tx, v *audit.Verifier) (done bool, err error) {
	rows, err := s.QueryContext(ctx, `SELECT seq, made, kind, outcome, actor, target, provider, request_id, address, reason, detail, hash
		FROM audit WHERE seq > $1 ORDER BY seq LIMIT $2`, v.Count(), verifyBatch)
	if err != nil {
		return false, fmt.Errorf("sql: verify audit: %w", err)
	}
	defer func() { _ = rows.Close() }()
	read := 0
	for ; rows.Next(); read++ {
		var e audit.Event
		var made int64
		var detail, hash string
		if err := rows.Scan(&e.Seq, &made, &e.Kind, &e.Outcome, &e.Actor, &e.Target, &e.Provider, &e.RequestID, &e.Address, &e.Reason, &detail, &hash); err != nil {
			return false, fmt.Errorf("sql: verify audit: %w", err)
		}
		e.Time = time.UnixMilli(made).UTC()
		if detail != "" && json.Unmarshal([]byte(detail), &e.Detail) != nil {
			return false, fmt.Errorf("%w at %d: its detail is not JSON", audit.ErrBroken, e.Seq)
		}
		if err := v.Add(e, hash); err != nil {
			return false, err
		}
	}
	if err := rows.Err(); err != nil {
		return false, fmt.Errorf("sql: verify audit: %w", err)
	}
	if read == verifyBatch {
		return false, nil
	}
	var seq int64
	var hash string
	if err := s.QueryRowContext(ctx, "SELECT seq, hash FROM audit_head WHERE one = 1").Scan(&seq, &hash); err != nil {
		return false, fmt.Errorf("sql: verify audit: %w", err)
	}
	// Numbers below 1 are not read by the walk; nothing writes them.
	var stray int
	if err := s.QueryRowContext(ctx, "SELECT count(*) FROM audit WHERE seq < 1").Scan(&stray); err != nil {
		return false, fmt.Errorf("sql: verify audit: %w", err)
	}
	if stray != 0 {
		return false, fmt.Errorf("%w: %d events stand before the first", audit.ErrBroken, stray)
	}
	return true, v.End(seq, hash)
}

// Interface guard.
var _ audit.Recorder = (*DB)(nil)
