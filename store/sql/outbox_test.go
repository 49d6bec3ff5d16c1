package sql

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ssogate/ssogate/internal/mail"
	"github.com/ssogate/ssogate/member"
)

// guest inserts a member who waits for a letter, and the letter.
func guest(t *testing.T, d *DB, n int) {
	t.Helper()
	err := d.Update(t.Context(), func(tx member.Tx) error {
		for i := range n {
			id := member.ID(fmt.Sprintf("g%03d", i))
			if err := tx.InsertMember(member.Member{ID: id, UserName: string(id), Wish: true, Version: 1, Connection: "c"}); err != nil {
				return err
			}
			if err := tx.QueueMail(member.Mail{ID: "l-" + string(id), Member: id, Invitation: "i-" + string(id), Sealed: []byte(id), Created: day}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// post is a sender that notes what it sent.
type post struct {
	mu   sync.Mutex
	sent map[string]int
	fail func(l mail.Letter, attempt int) error
}

func (p *post) Send(_ context.Context, l mail.Letter) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.sent[l.ID]++
	if p.fail != nil {
		return p.fail(l, p.sent[l.ID])
	}
	return nil
}

func worker(t *testing.T, d *DB, p *post, now func() time.Time, rate int) *mail.Worker {
	t.Helper()
	w, err := mail.NewWorker(mail.WorkerOptions{
		Outbox: d, Sender: p, Open: func(r mail.Row) (mail.Letter, error) { return mail.Letter{ID: string(r.Sealed)}, nil },
		Rate: rate, Now: now, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// TestALetterIsNotBegunWhenItsLeaseMayEndFirst: at a server that takes its time for each
// letter, the last of a claim would be sent by this node and by the next one too.
func TestALetterIsNotBegunWhenItsLeaseMayEndFirst(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		guest(t, d, 10)
		now := day
		slow := &post{sent: map[string]int{}, fail: func(mail.Letter, int) error {
			now = now.Add(time.Minute)
			return nil
		}}
		w := worker(t, d, slow, func() time.Time { return now }, 1000)
		w.Once(t.Context())
		if n := len(slow.sent); n < 2 || n > 5 || now.Sub(day) > 5*time.Minute {
			t.Errorf("%d letters, the last until %s, under a lease of five minutes", n, now.Sub(day))
		}
		// The others were put back, and are due at once.
		for range 10 {
			w.Once(t.Context())
		}
		if len(slow.sent) != 10 || states(t, d, 10) != "queued 0 sent 10 failed 0 dropped 0" {
			t.Errorf("%d letters in the end, %s", len(slow.sent), states(t, d, 10))
		}
		for id, n := range slow.sent {
			if n != 1 {
				t.Errorf("%s was sent %d times", id, n)
			}
		}
	})
}

func states(t *testing.T, d *DB, n int) string {
	t.Helper()
	count := map[member.MailState]int{}
	err := d.View(t.Context(), func(tx member.Tx) error {
		clear(count)
		for i := range n {
			s, _, err := tx.MailOf(fmt.Sprintf("i-g%03d", i))
			if err != nil {
				return err
			}
			count[s]++
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("queued %d sent %d failed %d dropped %d", count[member.MailQueued], count[member.MailSent], count[member.MailFailed], count[member.MailDropped])
}

// Two nodes empty one outbox: no letter twice, and no more in a minute than the rate.
func TestTheOutboxIsEmptiedOnceAndAtItsRate(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		const letters, rate = 53, 20
		guest(t, d, letters)
		now := day.Add(time.Hour)
		p := &post{sent: map[string]int{}}
		a, b := worker(t, d, p, func() time.Time { return now }, rate), worker(t, d, p, func() time.Time { return now }, rate)
		for minute := range 3 {
			var wg sync.WaitGroup
			for _, w := range []*mail.Worker{a, b, a, b} {
				wg.Go(func() {
					for w.Once(t.Context()) > 0 {
					}
				})
			}
			wg.Wait()
			if want := min((minute+1)*rate, letters); len(p.sent) != want {
				t.Errorf("minute %d: %d letters, want %d", minute, len(p.sent), want)
			}
			now = now.Add(61 * time.Second)
		}
		for id, n := range p.sent {
			if n != 1 {
				t.Errorf("%s was sent %d times", id, n)
			}
		}
		if got := states(t, d, letters); got != "queued 0 sent 53 failed 0 dropped 0" {
			t.Error(got)
		}
	})
}

func TestLettersAreTriedAgainUntilTheyAreGivenUp(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		guest(t, d, 3)
		now := day
		p := &post{sent: map[string]int{}, fail: func(l mail.Letter, attempt int) error {
			switch {
			case l.ID == "g000" && attempt < 4:
				return errors.New("451 try later, g000@example.com")
			case l.ID == "g001":
				return &mail.PermanentError{Err: errors.New("550 no such mailbox")}
			case l.ID == "g002":
				return errors.New("connection refused")
			}
			return nil
		}}
		w := worker(t, d, p, func() time.Time { return now }, 1000)
		for range 24 * 2 * 5 { // five days, by half an hour
			w.Once(t.Context())
			now = now.Add(30 * time.Minute)
		}
		if got := states(t, d, 3); got != "queued 0 sent 1 failed 2 dropped 0" {
			t.Error(got)
		}
		if p.sent["g000"] != 4 || p.sent["g001"] != 1 || p.sent["g002"] < 20 || p.sent["g002"] > 200 {
			t.Errorf("tries %v: backing off to an hour", p.sent)
		}
		var reason string
		if err := d.View(t.Context(), func(tx member.Tx) (err error) { _, reason, err = tx.MailOf("i-g001"); return err }); err != nil || !strings.Contains(reason, "550") {
			t.Errorf("reason %q, %v", reason, err)
		}
		if n, err := d.SweepMail(t.Context(), now.Add(time.Hour)); err != nil || n != 3 {
			t.Errorf("%d removed, %v", n, err)
		}
	})
}

// TestAServerThatFailsIsLeftAlone_Fault27: a letter that was put off is not tried again
// before its time, however often a worker looks.
func TestAServerThatFailsIsLeftAlone_Fault27(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		guest(t, d, 1)
		now := day
		p := &post{sent: map[string]int{}, fail: func(mail.Letter, int) error { return errOne }}
		w := worker(t, d, p, func() time.Time { return now }, 1000)
		tried := func() (n int) {
			for range 20 {
				n += w.Once(t.Context())
			}
			return n
		}
		if n := tried(); n != 1 {
			t.Errorf("%d tries at once", n)
		}
		now = day.Add(29 * time.Second) // the first wait is half a minute at least
		if n := tried(); n != 0 {
			t.Errorf("%d tries before its time", n)
		}
		now = day.Add(time.Minute)
		if n := tried(); n != 1 {
			t.Errorf("%d tries when it was due", n)
		}
	})
}

// A worker that dies between the server's answer and its note: the letter is sent
// again when its lease ends, with the same id, and a late note changes nothing.
func TestALetterOfADeadWorkerIsSentAgainUnderTheSameID(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		guest(t, d, 1)
		dead, err := d.ClaimMail(t.Context(), "dead", day, 5*time.Minute, 60, 10)
		if err != nil || len(dead) != 1 {
			t.Fatal(dead, err)
		}
		if again, err := d.ClaimMail(t.Context(), "other", day.Add(4*time.Minute), 5*time.Minute, 60, 10); err != nil || len(again) != 0 {
			t.Errorf("claimed twice: %v, %v", again, err)
		}
		again, err := d.ClaimMail(t.Context(), "other", day.Add(6*time.Minute), 5*time.Minute, 60, 10)
		if err != nil || len(again) != 1 || again[0].ID != dead[0].ID || again[0].Attempts != 2 {
			t.Fatalf("%+v, %v", again, err)
		}
		if err := d.MailFailed(t.Context(), dead[0].ID, "dead", "late", day); !errors.Is(err, member.ErrNotFound) {
			t.Errorf("a late note: %v", err)
		}
		if err := d.MailSent(t.Context(), dead[0].ID, "other", day); err != nil {
			t.Error(err)
		}
		if got := states(t, d, 1); got != "queued 0 sent 1 failed 0 dropped 0" {
			t.Error(got)
		}
	})
}

func TestLettersNobodyNeedsAreDropped(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		guest(t, d, 5)
		err := d.Update(t.Context(), func(tx member.Tx) error {
			for i, change := range []func(*member.Member){
				func(m *member.Member) { m.Accepted = true }, func(m *member.Member) { m.Wish = false }, func(m *member.Member) { m.Suspended = true },
			} {
				m, err := tx.Member(member.ID(fmt.Sprintf("g%03d", i)))
				if err != nil {
					return err
				}
				change(&m)
				m.Version++
				if err := tx.UpdateMember(m, 1); err != nil {
					return err
				}
			}
			return tx.DeleteMember("g003", 1)
		})
		if err != nil {
			t.Fatal(err)
		}
		p := &post{sent: map[string]int{}}
		worker(t, d, p, func() time.Time { return day }, 60).Once(t.Context())
		if got := states(t, d, 5); got != "queued 0 sent 1 failed 0 dropped 4" || len(p.sent) != 1 {
			t.Errorf("%s, sent %v", got, p.sent)
		}
	})
}

// "keys rotate --seal" promises that nothing needs the old key any more.
func TestWaitingLettersAreSealedAnew(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		guest(t, d, 2)
		if err := d.MailSent(t.Context(), "none", "none", day); !errors.Is(err, member.ErrNotFound) {
			t.Fatal(err)
		}
		rows, err := d.ClaimMail(t.Context(), "c", day, time.Minute, 1, 1)
		if err != nil || len(rows) != 1 {
			t.Fatal(rows, err)
		}
		if err := d.MailSent(t.Context(), rows[0].ID, "c", day); err != nil {
			t.Fatal(err)
		}
		var found []Sealed
		if err := d.EachSealed(t.Context(), func(s Sealed) error { found = append(found, s); return nil }); err != nil {
			t.Fatal(err)
		}
		if len(found) != 1 || found[0].Table != "outbox" || found[0].Context != mail.SealContext(found[0].ID) || found[0].ID == rows[0].ID {
			t.Fatalf("%+v: the one that waits, and not the one that is sent", found)
		}
		if done, err := d.Reseal(t.Context(), found[0], []byte("anew")); !done || err != nil {
			t.Errorf("%v, %v", done, err)
		}
	})
}

// hanging is a server that never answers: only the end of the delivery does.
type hanging struct{ begun chan struct{} }

func (h hanging) Send(ctx context.Context, _ mail.Letter) error {
	h.begun <- struct{}{}
	<-ctx.Done()
	return ctx.Err()
}

// A stop does not wait for a mail server that hangs, and loses no letter.
func TestAStopDoesNotWaitForAHangingServer(t *testing.T) {
	d := open(t, engines["SQLite"](t))
	guest(t, d, 4)
	h := hanging{make(chan struct{}, 10)}
	w, err := mail.NewWorker(mail.WorkerOptions{
		Outbox: d, Sender: h, Open: func(r mail.Row) (mail.Letter, error) { return mail.Letter{ID: string(r.Sealed)}, nil },
		Rate: 100, Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return day.Add(time.Hour) },
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		w.Once(ctx)
		close(done)
	}()
	<-h.begun
	stop()
	select {
	case <-done:
	case <-time.After(20 * time.Second):
		t.Fatal("still waiting for a server that never answers")
	}
	if got := states(t, d, 4); got != "queued 4 sent 0 failed 0 dropped 0" {
		t.Error(got)
	}
	if len(h.begun) != 0 {
		t.Error("another letter was begun after the stop")
	}
	rows, err := d.ClaimMail(t.Context(), "next", day.Add(2*time.Hour), time.Minute, 100, 10)
	if err != nil || len(rows) != 4 {
		t.Errorf("the next node finds %d letters, %v", len(rows), err)
	}
}
