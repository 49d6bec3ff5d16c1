package member

import (
	"context"
	"errors"
	"time"

	"github.com/ssogate/ssogate/internal/secret"
)

// InvitationLife is how long an invitation can be accepted.
const InvitationLife = 14 * 24 * time.Hour

// Mail is a letter for the outbox. Sealed is its content, sealed by the caller's
// [Letters]: it holds the link, which is the invitation.
type Mail struct {
	ID         string
	Member     ID
	Invitation string // hash of the invitation's token
	Sealed     []byte
	Created    time.Time
}

// MailState is what became of a letter.
type MailState string

// States of a letter.
const (
	MailQueued  MailState = "queued"
	MailSent    MailState = "sent"
	MailFailed  MailState = "failed" // the reason is kept with it
	MailDropped MailState = "dropped"
)

// Letters writes the letters of a Directory. Implementations are called inside a
// transaction that may run again, and must do nothing but make the letter.
type Letters interface {
	// Invitation is the letter to m. nil, nil: none can be written, for instance
	// because the address is none.
	Invitation(m Member, i Invitation, token string) (*Mail, error)
}

// ErrInvitation means an invitation that cannot be used: unknown, expired,
// accepted already, or its member may not come (any more).
var ErrInvitation = errors.New("member: invitation cannot be used")

// InvitationState is where an invitation stands, for people.
type InvitationState string

// States of an invitation.
const (
	InvitationQueued   InvitationState = "queued"
	InvitationSent     InvitationState = "sent"
	InvitationRejected InvitationState = "rejected" // by the mail server
	InvitationOpened   InvitationState = "opened"   // the button on its page was pressed
	InvitationAccepted InvitationState = "accepted"
	InvitationExpired  InvitationState = "expired"
)

// State is where i stands at a moment; mail is what became of its letter.
func (i Invitation) State(now time.Time, mail MailState) InvitationState {
	switch {
	case !i.Accepted.IsZero():
		return InvitationAccepted
	case !now.Before(i.Expires):
		return InvitationExpired
	case !i.Opened.IsZero():
		return InvitationOpened
	case mail == MailFailed:
		return InvitationRejected
	case mail == MailSent:
		return InvitationSent
	}
	return InvitationQueued
}

// usable reports whether i can still be accepted.
func (i Invitation) usable(now time.Time) bool {
	return i.Accepted.IsZero() && now.Before(i.Expires)
}

// invite makes the invitation of a member who waits for one, and its letter, in
// the transaction that made or changed him: there is never one without the
// other. A member who has a usable invitation gets no second one.
func (d *Directory) invite(tx Tx, c Connection, m Member) error {
	if d.Letters == nil || c.Activation != ActivateInvitation || !m.Wish || m.Accepted || m.Suspended || m.Email == "" {
		return nil
	}
	now := d.now()
	have, err := tx.InvitationsOf(m.ID)
	if err != nil {
		return err
	}
	for _, i := range have {
		if i.usable(now) && i.Email == m.Email {
			return nil
		}
	}
	token := secret.NewToken()
	i := Invitation{
		Token: secret.Sum(token).String(), Member: m.ID, Email: m.Email, Provider: c.Provider, Expires: now.Add(InvitationLife), Created: now,
	}
	letter, err := d.Letters.Invitation(m, i, token)
	if err != nil || letter == nil {
		return err
	}
	if len(have) > 0 { // to another address, or expired
		if err := tx.DropInvitations(m.ID); err != nil {
			return err
		}
	}
	if err := tx.InsertInvitation(i); err != nil {
		return err
	}
	return tx.QueueMail(*letter)
}

// reinvite follows a change: a member who was wanted again, or whose address is
// another one, needs an invitation that he can read; one who is not wanted any
// more can use none.
func (d *Directory) reinvite(tx Tx, c Connection, was, m Member) error {
	switch {
	case m.Accepted || d.Letters == nil:
		return nil
	case was.Wish && !m.Wish, was.Email != m.Email && m.Email == "":
		return tx.DropInvitations(m.ID)
	case !was.Wish && m.Wish, was.Email != m.Email:
		return d.invite(tx, c, m)
	}
	return nil
}

// LookInvitation reads an invitation by its token's hash without any effect (a
// mail scanner follows every link): [ErrInvitation].
func (d *Directory) LookInvitation(ctx context.Context, token string) (i Invitation, m Member, err error) {
	err = d.Store.View(ctx, func(tx Tx) error {
		i, m, err = d.look(tx, token)
		return err
	})
	return i, m, err
}

// OpenInvitation notes that somebody pressed the button: [ErrInvitation].
func (d *Directory) OpenInvitation(ctx context.Context, token string) (i Invitation, err error) {
	err = d.Store.Update(ctx, func(tx Tx) error {
		if i, _, err = d.look(tx, token); err != nil {
			return err
		}
		return tx.OpenInvitation(token, d.now())
	})
	return i, err
}

func (d *Directory) look(tx Tx, token string) (Invitation, Member, error) {
	i, err := tx.Invitation(token)
	if errors.Is(err, ErrNotFound) {
		return Invitation{}, Member{}, ErrInvitation
	}
	if err != nil {
		return Invitation{}, Member{}, err
	}
	m, err := tx.Member(i.Member)
	switch {
	case errors.Is(err, ErrNotFound):
		return Invitation{}, Member{}, ErrInvitation
	case err != nil:
		return Invitation{}, Member{}, err
	case !i.usable(d.now()) || !m.Wish || m.Suspended || m.Accepted:
		return Invitation{}, Member{}, ErrInvitation
	}
	return i, m, nil
}
