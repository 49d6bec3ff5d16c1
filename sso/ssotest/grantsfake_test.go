package ssotest

import (
	"testing"

	"github.com/ssogate/ssogate/sso/refresh"
)

func TestGrantsFake(t *testing.T) {
	Grants(t, func(*testing.T) (one, two refresh.Store) {
		f := &GrantsFake{}
		return f, f
	})
}
