package sql

import (
	"context"
	"database/sql"
	"time"

	"github.com/ssogate/ssogate/internal/mail"
	"github.com/ssogate/ssogate/member"
)

// QueueMail implements member.Invitations.
func (t *tx) QueueMail(m member.Mail) error {
	_, err := t.exec("queue mail", `INSERT INTO outbox (id, member, invitation, sealed, state, reason, created, due, attempts, attempted, claim, leased_until, finished)
		VALUES ($1, $2, $3, $4, 'queued', '', $5, $5, 0, 0, '', 0, 0)`,
		m.ID, string(m.Member), m.Invitation, m.Sealed, ms(m.Created))
	return err
}

// Queue puts letters that belong to no change of a member into the outbox.
func (d *DB) Queue(ctx context.Context, letters ...member.Mail) error {
	return d.update(ctx, func(s *sql.Tx) error {
		t := &tx{ctx: ctx, sql: s, now: d.now}
		for _, m := range letters {
			if err := t.QueueMail(m); err != nil {
				return err
			}
		}
		return nil
	})
}

// InvitationsOf implements member.Invitations.
func (t *tx) InvitationsOf(id member.ID) ([]member.Invitation, error) {
	return list(t, "invitations of", scanInvitation,
		"SELECT "+invitationColumns+" FROM invitations WHERE member = $1 ORDER BY created, token", string(id))
}

// DropInvitations implements member.Invitations.
func (t *tx) DropInvitations(id member.ID) error {
	if _, err := t.exec("drop invitations", "DELETE FROM invitations WHERE member = $1 AND accepted = 0", string(id)); err != nil {
		return err
	}
	_, err := t.exec("drop invitations", "UPDATE outbox SET state = 'dropped', sealed = $2, finished = $3 WHERE member = $1 AND invitation <> '' AND state = 'queued'",
		string(id), []byte{}, ms(t.now()))
	return err
}

// OpenInvitation implements member.Invitations.
func (t *tx) OpenInvitation(token string, at time.Time) error {
	_, err := t.exec("open invitation", "UPDATE invitations SET opened = $2 WHERE token = $1 AND opened = 0", token, ms(at))
	return err
}

// MailOf implements member.Invitations.
func (t *tx) MailOf(invitation string) (member.MailState, string, error) {
	var state, reason string
	err := t.row("mail of", func(r *sql.Row) error { return r.Scan(&state, &reason) },
		"SELECT state, reason FROM outbox WHERE invitation = $1 AND invitation <> '' ORDER BY created DESC LIMIT 1", invitation)
	return member.MailState(state), reason, err
}

// ClaimMail implements mail.Outbox.
func (d *DB) ClaimMail(ctx context.Context, claim string, now time.Time, lease time.Duration, rate, n int) (out []mail.Row, err error) {
	err = d.update(ctx, func(s *sql.Tx) error {
		out = nil
		t := &tx{ctx: ctx, sql: s, now: d.now}
		if _, err := t.exec("claim mail", "UPDATE outbox_turn SET turn = turn + 1 WHERE one = 1"); err != nil {
			return err
		}
		// Nobody needs an invitation who has accepted, may not come, or is gone. Other
		// letters are for whoever they were written to.
		if _, err := t.exec("claim mail", `UPDATE outbox SET state = 'dropped', sealed = $2, finished = $1 WHERE state = 'queued' AND due <= $1 AND leased_until <= $1
			AND invitation <> '' AND NOT EXISTS (SELECT 1 FROM members m WHERE m.id = outbox.member AND m.wish = 1 AND m.accepted = 0 AND m.suspended = 0)`,
			ms(now), []byte{}); err != nil {
			return err
		}
		var tried int
		if err := t.row("claim mail", func(r *sql.Row) error { return r.Scan(&tried) },
			"SELECT count(*) FROM outbox WHERE attempted > $1", ms(now.Add(-time.Minute))); err != nil {
			return err
		}
		if n = min(n, rate-tried); n <= 0 {
			return nil
		}
		out, err = list(t, "claim mail", func(r scanner, m *mail.Row) error {
			var created int64
			err := r.Scan(&m.ID, &m.Sealed, &m.Attempts, &created)
			m.Created = at(created)
			return err
		}, `UPDATE outbox SET claim = $1, leased_until = $2, attempts = attempts + 1, attempted = $3 WHERE id IN (
				SELECT id FROM outbox WHERE state = 'queued' AND due <= $3 AND leased_until <= $3 ORDER BY due, id LIMIT $4
			) RETURNING id, sealed, attempts, created`, claim, ms(now.Add(lease)), ms(now), n)
		return err
	})
	return out, err
}

// finishMail ends the claim of a letter, if it is still held.
func (d *DB) finishMail(ctx context.Context, set, id, claim string, args ...any) error {
	return d.update(ctx, func(s *sql.Tx) error {
		n, err := (&tx{ctx: ctx, sql: s, now: d.now}).exec("finish mail",
			"UPDATE outbox SET claim = '', leased_until = 0, "+set+" WHERE id = $1 AND claim = $2 AND state = 'queued'", append([]any{id, claim}, args...)...)
		if err == nil && n == 0 {
			err = wrap("finish mail", member.ErrNotFound)
		}
		return err
	})
}

// MailSent implements mail.Outbox.
func (d *DB) MailSent(ctx context.Context, id, claim string, when time.Time) error {
	return d.finishMail(ctx, "state = 'sent', reason = '', sealed = $3, finished = $4", id, claim, []byte{}, ms(when))
}

// MailLater implements mail.Outbox.
func (d *DB) MailLater(ctx context.Context, id, claim string, due time.Time, reason string) error {
	return d.finishMail(ctx, "due = $3, reason = $4", id, claim, ms(due), clean(reason))
}

// MailFailed implements mail.Outbox.
func (d *DB) MailFailed(ctx context.Context, id, claim, reason string, when time.Time) error {
	return d.finishMail(ctx, "state = 'failed', reason = $3, sealed = $4, finished = $5", id, claim, clean(reason), []byte{}, ms(when))
}

// SweepMail implements mail.Outbox. Invitations that ended long ago go with it.
func (d *DB) SweepMail(ctx context.Context, before time.Time) (removed int, err error) {
	for _, q := range []string{
		"DELETE FROM outbox WHERE state <> 'queued' AND finished < $1",
		"DELETE FROM invitations WHERE expires < $1",
	} {
		err := d.update(ctx, func(s *sql.Tx) error {
			n, err := (&tx{ctx: ctx, sql: s, now: d.now}).exec("sweep mail", q, ms(before))
			removed += int(n)
			return err
		})
		if err != nil {
			return removed, err
		}
	}
	return removed, nil
}

// QueuedMail implements mail.Outbox.
func (d *DB) QueuedMail(ctx context.Context) (n int, err error) {
	err = d.within(ctx, func(t *tx) error {
		return t.row("queued mail", func(r *sql.Row) error { return r.Scan(&n) }, "SELECT count(*) FROM outbox WHERE state = 'queued'")
	})
	return n, err
}

// Interface guard.
var _ mail.Outbox = (*DB)(nil)
