package membertest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/member"
)

// Log is the revocation log, as a session.Cutoff reads it. A Store that has it
// is checked for it too.
type Log interface {
	Revocations(ctx context.Context, after int64, limit int) ([]member.Revocation, error)
	LastRevocation(ctx context.Context) (int64, error)
}

// together runs fn n times at once and answers the errors.
func together(n int, fn func(i int) error) []error {
	errs := make([]error, n)
	start := make(chan struct{})
	var wg sync.WaitGroup
	for i := range n {
		wg.Go(func() {
			<-start
			errs[i] = fn(i)
		})
	}
	close(start)
	wg.Wait()
	return errs
}

// tally counts successes, and fails the test for an error that is not want.
func tally(t *testing.T, errs []error, want error) (ok int) {
	t.Helper()
	for _, err := range errs {
		switch {
		case err == nil:
			ok++
		case !errors.Is(err, want):
			t.Errorf("lost a race with %v, want %v", err, want)
		}
	}
	return ok
}

func racingCreates(t *testing.T, s member.Store) {
	errs := together(20, func(i int) error {
		m := person(i)
		m.UserName = "Same@corp.example"
		return s.Update(context.Background(), func(tx member.Tx) error {
			// Read first: that is how a rule in front of the insert would miss it.
			if taken, err := tx.UserNameTaken(member.UserNameKey(m.UserName)); taken || err != nil {
				return errors.Join(err, member.ErrConflict)
			}
			return tx.InsertMember(m)
		})
	})
	if n := tally(t, errs, member.ErrConflict); n != 1 {
		t.Errorf("%d creates of one name succeeded", n)
	}
}

func racingVersions(t *testing.T, s member.Store) {
	insert(t, s, person(1))
	errs := together(20, func(i int) error {
		m := person(1)
		m.DisplayName, m.Version = fmt.Sprint(i), 2
		return s.Update(context.Background(), func(tx member.Tx) error { return tx.UpdateMember(m, 1) })
	})
	if n := tally(t, errs, member.ErrVersion); n != 1 {
		t.Errorf("%d writers of one version succeeded", n)
	}
	// Without a fixed version everyone reads, adds one and writes: nobody's step
	// is lost, because what is read in an update stays so until it ends.
	errs = together(20, func(int) error {
		return s.Update(context.Background(), func(tx member.Tx) error {
			m, err := tx.Member("m00001")
			if err != nil {
				return err
			}
			v := m.Version
			m.Version++
			m.Epoch++
			return tx.UpdateMember(m, v)
		})
	})
	if n := tally(t, errs, nil); n != 20 {
		t.Errorf("%d of 20 writers succeeded", n)
	}
	if m := get(t, s, "m00001"); m.Epoch != 21 || m.Version != 22 {
		t.Errorf("after 20 steps epoch is %d and version %d: an update was lost", m.Epoch, m.Version)
	}
}

func racingMemberships(t *testing.T, s member.Store) {
	const writers = 50
	for i := range writers {
		insert(t, s, person(i))
	}
	update(t, s, func(tx member.Tx) error { return tx.InsertTeam(team(1)) })
	errs := together(writers, func(i int) error {
		return s.Update(context.Background(), func(tx member.Tx) error {
			g, err := tx.Team("t001")
			if err != nil {
				return err
			}
			if _, err := tx.AddMemberships(g.ID, []member.ID{person(i).ID}); err != nil {
				return err
			}
			v := g.Version
			g.Version++
			if err := tx.UpdateTeam(g, v); err != nil {
				return err
			}
			return tx.Audit(audit.Event{Kind: "team.updated"})
		})
	})
	if n := tally(t, errs, nil); n != writers {
		t.Errorf("%d of %d writers succeeded", n, writers)
	}
	view(t, s, func(tx member.Tx) error {
		in, err1 := tx.MembersOf("t001")
		g, err2 := tx.Team("t001")
		if len(in) != writers || g.Version != writers+1 {
			t.Errorf("%d members and version %d after %d writers (G7)", len(in), g.Version, writers)
		}
		return errors.Join(err1, err2)
	})
}

func racingRevocations(t *testing.T, s member.Store) {
	const writers, each = 8, 15
	l, ok := s.(Log)
	var last atomic.Int64
	stop := make(chan struct{})
	var reader sync.WaitGroup
	if ok {
		// Whoever sees number n must see every row up to it, for ever after.
		// Were numbers given out before others commit, a reader at position n
		// would pass over n-1 and never apply it (C1).
		reader.Go(func() {
			for at, finished := int64(0), false; ; {
				select {
				case <-stop:
					finished = true // what is read from here on is all there is
				default:
				}
				rows, err := l.Revocations(context.Background(), at, 7)
				if err != nil {
					t.Errorf("read: %v", err)
					return
				}
				for _, r := range rows {
					if r.Seq != at+1 {
						t.Errorf("row %d came after %d: one was passed over", r.Seq, at)
						return
					}
					at = r.Seq
				}
				last.Store(at)
				if finished && len(rows) == 0 {
					return
				}
			}
		})
	}
	var rolled atomic.Int64
	errs := together(writers, func(w int) error {
		for i := range each {
			fail := errors.New("on purpose")
			err := s.Update(context.Background(), func(tx member.Tx) error {
				if err := tx.Audit(audit.Event{Kind: "x"}); err != nil {
					return err
				}
				if _, err := tx.Revoke(member.Revocation{Kind: member.End, Scope: member.ScopeMember, Target: fmt.Sprint(w), At: epoch}); err != nil {
					return err
				}
				if i%5 == 4 {
					return fail // its number must be given to the next
				}
				return nil
			})
			switch {
			case errors.Is(err, fail):
				rolled.Add(1)
			case err != nil:
				return err
			}
		}
		return nil
	})
	close(stop)
	reader.Wait()
	if n := tally(t, errs, nil); n != writers {
		t.Fatalf("%d of %d writers succeeded", n, writers)
	}
	want := int64(writers*each) - rolled.Load()
	view(t, s, func(tx member.Tx) error {
		got, err := tx.LatestRevocation("", "")
		if got != want || ok && last.Load() != want {
			t.Errorf("the log ends at %d, read up to %d, want %d: numbers are not dense", got, last.Load(), want)
		}
		return err
	})
}

func snapshot(t *testing.T, s member.Store) {
	insert(t, s, person(1))
	err := s.View(context.Background(), func(tx member.Tx) error {
		before, err := tx.Member("m00001")
		if err != nil {
			return err
		}
		seq, err := tx.LatestRevocation("", "")
		if err != nil {
			return err
		}
		update(t, s, func(tx member.Tx) error {
			m := person(1)
			m.Version, m.Wish = 2, false
			if err := tx.UpdateMember(m, 1); err != nil {
				return err
			}
			return second(tx.Revoke(member.Revocation{Kind: member.End, Scope: member.ScopeMember, Target: "m00001"}))
		})
		after, err := tx.Member("m00001")
		if err != nil {
			return err
		}
		now, err := tx.LatestRevocation("", "")
		if before.Wish != after.Wish || seq != now {
			t.Errorf("within one view the member went from wish %v to %v and the log from %d to %d (C11)", before.Wish, after.Wish, seq, now)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
