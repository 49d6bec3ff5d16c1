package ssotest

import (
	"testing"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/sso"
)

func TestPendingFake(t *testing.T) {
	Pending(t, func(_ *testing.T, now clock.Func) sso.Pending { return NewPendingFake(now, PendingBudget) })
}

func TestSharesFake(t *testing.T) {
	Shares(t, func(*testing.T) (a, b sso.Shares) {
		f := NewSharesFake(nil)
		return f, f
	})
}
