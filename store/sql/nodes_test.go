package sql

import (
	"testing"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session/sessiontest"
)

func TestPrimaryConformance(t *testing.T) {
	for name, url := range engines {
		t.Run(name, func(t *testing.T) {
			sessiontest.Primary(t, func(t *testing.T) sessiontest.PrimaryUnderTest {
				url, clk := url(t), &clock.Manual{}
				d := open(t, url)
				d.now = clk.Now
				p := sessiontest.PrimaryUnderTest{
					Primary: d,
					Other:   d,
					Advance: clk.Advance,
					Revoke: func(r member.Revocation) (seq int64, err error) {
						err = d.Update(t.Context(), func(tx member.Tx) error {
							seq, err = tx.Revoke(r)
							return err
						})
						return seq, err
					},
				}
				if name == "PostgreSQL" {
					other := open(t, url) // another node has connections of its own
					other.now = clk.Now
					p.Other = other
				}
				return p
			})
		})
	}
}
