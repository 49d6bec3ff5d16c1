package sql

import (
	"errors"
	"testing"
	"time"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/sso"
	"github.com/ssogate/ssogate/sso/ssotest"
)

func TestSignOutsConformance(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		ssotest.SignOuts(t, func(*testing.T) sso.SignOuts { return d.SignOuts() })
	})
}

// What flow tests use must say the same.
func TestSignOutsFakeConformance(t *testing.T) {
	ssotest.SignOuts(t, func(*testing.T) sso.SignOuts { return &ssotest.SignOutsFake{} })
}

func TestSignOutsAreSweptAtTheSessionsEnd(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		s, now := d.SignOuts(), time.UnixMilli(1_800_000_000_000)
		for name, end := range map[string]time.Duration{"over": time.Minute, "running": time.Hour} {
			err := s.Keep(t.Context(), sso.SignOut{
				Session: secret.Sum(name), Member: "ana", Provider: "okta", Person: "ana", Expires: now.Add(end),
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Sweep(t.Context(), now.Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Of(t.Context(), secret.Sum("over")); !errors.Is(err, sso.ErrNoRecord) {
			t.Errorf("over: %v", err)
		}
		if _, err := s.Of(t.Context(), secret.Sum("running")); err != nil {
			t.Errorf("running: %v", err)
		}
	})
}
