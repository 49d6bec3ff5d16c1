package local

import (
	"context"
	"time"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
)

// maxResets is how many wishes for a new password may wait to be looked into.
const maxResets = 256

// reset is one wish for a new password.
type reset struct {
	user string
	from Client
}

// AskReset notes that somebody wants a new password. He is told the same, and as
// soon, whoever he says he is: what there is to do is done by [Service.Run]. Errors:
// *[SlowError], and that the store cannot count.
func (s *Service) AskReset(ctx context.Context, user string, from Client) error {
	if len(user) > member.MaxEmail {
		user = ""
	}
	if _, err := s.begin(ctx, names("reset", user, from.Address)); err != nil {
		return err
	}
	select {
	case s.resets <- reset{user, from}:
		return nil
	default:
		return &SlowError{10 * time.Second}
	}
}

// Run does what was asked for until ctx ends.
func (s *Service) Run(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case r := <-s.resets:
			if err := s.sendReset(ctx, r); err != nil && ctx.Err() == nil {
				s.Log.ErrorContext(ctx, "a link to set a new password was not sent", "request", r.from.RequestID, "err", err)
			}
		}
	}
}

// sendReset sends the link to whoever has a password and an address. An address does
// not give a password to somebody who never had one here: his way in is his identity
// provider (G6).
func (s *Service) sendReset(ctx context.Context, r reset) error {
	g, err := s.guessed(ctx, r.user, r.from, func(m member.Member) bool { return !m.Fallback && m.Email != "" })
	if err != nil || !g.known || g.cred.Password == "" || s.Notices == nil {
		return err
	}
	if ok, err := s.maySend(ctx, g.member.ID); err != nil || !ok {
		return err
	}
	by := member.Actor{Name: "anonymous", RequestID: r.from.RequestID, Address: r.from.address()}
	token, l, err := NewLink(ctx, s.Store, by, g.member.ID, Reset, s.Now())
	if err != nil {
		return err
	}
	return s.Notices.ResetLink(ctx, g.member, token, l.Expires)
}

// maxLetters is how many links a member is sent in one window: whoever asks for them
// from ever new addresses must not fill his mailbox.
const maxLetters = 3

func (s *Service) maySend(ctx context.Context, id member.ID) (ok bool, err error) {
	now := s.Now()
	err = s.Store.Count(ctx, []string{secret.Sum("letters\n" + string(id)).String()}, func(cs []Counter) {
		c := &cs[0]
		if now.Sub(c.Last) > window {
			c.Failures = 0
		}
		if ok = c.Failures < maxLetters; ok {
			c.Failures++
			c.Last = now
		}
	})
	return ok, err
}

// ChangeOwn is SetOwn for somebody who may have a password already: then he must show
// it, so that a browser left open is not an account given away. Errors: also [ErrWrong]
// and *[SlowError].
func (s *Service) ChangeOwn(ctx context.Context, m member.Member, old, password string, from Client) error {
	g, err := s.guessed(ctx, m.UserName, from, func(found member.Member) bool { return found.ID == m.ID })
	if err != nil {
		return err
	}
	if g.cred.Password != "" {
		a, ok, err := s.compare(ctx, g, names("own", m.UserName, from.Address), old)
		if err != nil {
			return err
		}
		if !ok {
			return ErrWrong
		}
		if err := s.forgive(ctx, a, true); err != nil {
			return err
		}
	}
	return s.SetOwn(ctx, m, password, from)
}

// SetOwn sets the password of a member who is signed in by other means, and ends no
// session. Errors: *[WeakError], [ErrBusy], member.ErrFallback for fallback owners,
// whose password goes with codes.
func (s *Service) SetOwn(ctx context.Context, m member.Member, password string, from Client) error {
	if m.Fallback {
		return member.ErrFallback
	}
	if err := CheckPassword(password, m); err != nil {
		return err
	}
	phc, err := s.hasher.hash(ctx, password)
	if err != nil {
		return err
	}
	set := Setting{Credential: Credential{Member: m.ID, Password: phc, Updated: s.Now().UTC().Truncate(time.Millisecond)}}
	e := s.event("credential.set", audit.Allowed, "member:"+string(m.ID), m.ID, from)
	e.Reason = "own"
	return s.Store.SetCredential(ctx, set, e)
}
