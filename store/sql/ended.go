package sql

import (
	"context"
	"database/sql"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
)

// EndedSession finds the tombstone of a member's session by the handle it was
// listed under, the beginning of its hash: member.ErrNotFound when there is none.
// It lets a command wait again for what it ended before.
func (d *DB) EndedSession(ctx context.Context, id member.ID, handle string) (s member.EndedSession, err error) {
	err = d.within(ctx, func(t *tx) error {
		return t.row("ended session", func(r *sql.Row) error {
			var until int64
			err := r.Scan(&s.Hash, &s.Member, &until, &s.Reason)
			s.Until = at(until)
			return err
		}, "SELECT hash, member, until, reason FROM ended_sessions WHERE member = $1 AND substr(hash, 1, $3) = $2 LIMIT 1",
			string(id), handle, len(session.Record{}.Handle()))
	})
	if err != nil {
		return member.EndedSession{}, err
	}
	return s, nil
}
