package local

import (
	"context"
	"errors"
	"net/netip"
	"time"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/sso"
)

// ForMembers is the Service as the sign-in flow asks it.
func (s *Service) ForMembers() sso.LocalSignIn { return membersDoor{s} }

type membersDoor struct{ s *Service }

// SignIn implements sso.LocalSignIn.
func (d membersDoor) SignIn(ctx context.Context, user, password string, from netip.Addr, request string) (member.Member, error) {
	m, err := d.s.SignIn(ctx, user, password, Client{Address: from, RequestID: request})
	var slow *SlowError
	switch {
	case errors.Is(err, ErrWrong):
		return member.Member{}, sso.ErrCredentials
	case errors.As(err, &slow):
		return member.Member{}, &sso.WaitError{Wait: slow.Wait}
	case errors.Is(err, ErrBusy):
		return member.Member{}, &sso.WaitError{Wait: 5 * time.Second}
	}
	return m, err
}

// InUse implements sso.LocalSignIn.
func (d membersDoor) InUse(ctx context.Context) (bool, error) { return d.s.Store.AnyPassword(ctx) }
