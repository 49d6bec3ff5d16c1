package session_test

import (
	"errors"
	"testing"
	"time"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
)

// Protocols section 3: a form is kept for the person whose session ran out, and for
// nobody whose session was ended.
func TestExpiredKnowsOnlySessionsThatRanOut(t *testing.T) {
	ana := func(w *world) member.Member { return w.member("ana") }
	for _, c := range []struct {
		name string
		do   func(w *world, rec session.Record)
		want error
	}{
		{"idle", func(w *world, _ session.Record) { w.clock.Advance(time.Hour + time.Second) }, nil},
		{"absolute end", func(w *world, _ session.Record) { w.clock.Advance(9 * time.Hour) }, nil},
		{"within a day", func(w *world, _ session.Record) { w.clock.Advance(24 * time.Hour) }, nil},
		{"still running", func(*world, session.Record) {}, session.ErrNotPast},
		{"a day after it went idle", func(w *world, _ session.Record) { w.clock.Advance(25 * time.Hour) }, session.ErrNotPast},
		{"signed out", func(w *world, rec session.Record) {
			w.dir.ended[rec.Hash.String()] = true
			w.clock.Advance(2 * time.Hour)
		}, session.ErrNotPast},
		{"deleted from the store", func(w *world, rec session.Record) {
			_ = w.store.Delete(w.t.Context(), rec.Hash)
			w.clock.Advance(2 * time.Hour)
		}, session.ErrNotPast},
		{"deactivated", func(w *world, _ session.Record) {
			m := ana(w)
			m.Wish = false
			w.dir.put(m)
			w.clock.Advance(2 * time.Hour)
		}, session.ErrNotPast},
		{"deactivated and back", func(w *world, _ session.Record) {
			m := ana(w)
			m.Epoch += 2
			w.dir.put(m)
			w.clock.Advance(2 * time.Hour)
		}, session.ErrNotPast},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			rec, req := w.signIn(ana(w))
			c.do(w, rec)
			got, err := w.m.Expired(t.Context(), req())
			if !errors.Is(err, c.want) {
				t.Fatalf("%+v, %v; want %v", got, err, c.want)
			}
			if c.want == nil && (got.Member != "ana" || got.Session != rec.Hash) {
				t.Errorf("%+v", got)
			}
			if c.want != nil && got != (session.Past{}) {
				t.Errorf("with an error: %+v", got)
			}
		})
	}
	w := newWorld(t)
	_, req := w.signIn(ana(w))
	w.clock.Advance(2 * time.Hour)
	w.dir.setFail(errDown)
	if _, err := w.m.Expired(t.Context(), req()); !errors.Is(err, errDown) {
		t.Errorf("directory down: %v", err)
	}
	w.store.Fail(errDown)
	if _, err := w.m.Expired(t.Context(), req()); !errors.Is(err, errDown) {
		t.Errorf("store down: %v", err)
	}
}
