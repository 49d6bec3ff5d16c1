package sessiontest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/member/membertest"
	"github.com/ssogate/ssogate/session"
)

func TestFake(t *testing.T) {
	Store(t, func(_ *testing.T, now clock.Func) session.Store { return NewFake(now) })
}

func TestFakeAnswersMismatchForAnotherRecord(t *testing.T) {
	f := NewFake(nil)
	a, b := Record("a", "m1", time.Now()), Record("b", "m2", time.Now())
	if err := f.Create(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	f.Replace(a.Hash, b)
	if _, err := f.Get(t.Context(), a.Hash); !errors.Is(err, session.ErrMismatch) {
		t.Errorf("K09: got %v, want ErrMismatch", err)
	}
}

func TestFakeFailsWithoutLosingAnything(t *testing.T) {
	f, down := NewFake(nil), errors.New("down")
	a := Record("a", "m1", time.Now())
	if err := f.Create(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	f.Fail(down)
	if _, err := f.Get(t.Context(), a.Hash); !errors.Is(err, down) {
		t.Errorf("got %v, want the error that was set", err)
	}
	f.Fail(nil)
	if got, err := f.Get(t.Context(), a.Hash); err != nil || got != a {
		t.Errorf("after the fault: %+v, %v", got, err)
	}
}

func TestFakePrimary(t *testing.T) {
	Primary(t, func(*testing.T) PrimaryUnderTest {
		clk, rows := &clock.Manual{}, membertest.NewFake()
		p := &FakePrimary{Rows: rows, Now: clk.Now}
		return PrimaryUnderTest{Primary: p, Other: p, Advance: clk.Advance, Revoke: func(r member.Revocation) (seq int64, err error) {
			err = rows.Update(context.Background(), func(tx member.Tx) error {
				seq, err = tx.Revoke(r)
				return err
			})
			return seq, err
		}}
	})
}
