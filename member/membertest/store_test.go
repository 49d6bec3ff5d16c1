package membertest

import (
	"testing"

	"github.com/ssogate/ssogate/member"
)

func TestFakeKeepsThePromisesOfAStore(t *testing.T) {
	Store(t, func(*testing.T) member.Store { return NewFake() })
}
