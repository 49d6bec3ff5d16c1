package sessiontest

import (
	"context"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
)

// Store runs the conformance suite of session.Store. open answers an empty
// store that tells the time by now; it is called once per case.
func Store(t *testing.T, open func(t *testing.T, now clock.Func) session.Store) {
	t.Helper()
	cases := []struct {
		name string
		why  string // printed when the case fails
		run  func(*env)
	}{
		{"RoundTrip", "every field comes back as it was stored, in UTC milliseconds", roundTrip},
		{"CreateTwice", "a second record under one id would be session fixation (K01)", createTwice},
		{"CreateRace", "of many creations of one id exactly one wins", createRace},
		{"Unknown", "an unknown session is ErrNotFound, and ending it twice is no error", unknown},
		{"RefusesInvalid", "a record without owner or life time, or too large, is never stored (G8)", refusesInvalid},
		{"Touch", "a touch sets LastSeen and nothing else", touch},
		{"TouchNeverBack", "a node that writes back late does not make a session idle that another node saw in use", touchNeverBack},
		{"TouchBatch", "a batch touches all that exist and ignores the rest", touchBatch},
		{"TouchBatchRace", "nodes that write back the same sessions at once all succeed, and the latest use stays", touchBatchRace},
		{"TouchNeverCreates/C6", "a touch after logout must not bring the session back", touchNeverCreates},
		{"TouchRace/C6", "touches racing a deletion must not bring the session back", touchRace},
		{"AbsoluteEnd/K06", "no activity moves the absolute end", absoluteEnd},
		{"Remembered", "a session that ended by itself is known for a day, one that was ended is not", remembered},
		{"DeleteMember/C7", "only sessions of that member with a lower epoch end, and they are counted", deleteMember},
		{"DeleteMemberLate/C7", "a late revocation does not end sessions made after re-activation", deleteMemberLate},
		{"DeleteMemberStaleIndex", "sessions that ended or expired before are not counted and do no harm", deleteMemberStale},
		{"DeleteMemberRace/C7", "sessions of the new epoch survive a revocation that runs beside them", deleteMemberRace},
		{"DeleteMemberMany", "a member with many sessions loses all of them", deleteMemberMany},
		{"MemberNames", "no spelling of a member id reaches another member's sessions", memberNames},
		{"List", "a member's live sessions, newest first, and nobody else's", list},
		{"Concurrent", "concurrent sign-ins of one member are all kept", concurrent},
		{"Cancelled/G2", "a call that was given up is an error, never 'not found'", cancelled},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			t.Cleanup(func() {
				if t.Failed() {
					t.Logf("why this matters: %s", c.why)
				}
			})
			m := &clock.Manual{}
			c.run(&env{T: t, s: open(t, m.Now), clock: m, ctx: t.Context()})
		})
	}
}

// Record makes a valid record of a member's session, issued at now.
func Record(id string, m member.ID, now time.Time) session.Record {
	return session.Record{
		Version: session.RecordVersion, Hash: secret.Sum(id), Member: m, Epoch: 1, Provider: "okta",
		SessionIndex: "_idp-session-1", Issued: now, LastSeen: now, AuthTime: now.Add(-time.Minute), Expires: now.Add(24 * time.Hour),
		Address: "192.0.2.7", UserAgent: "Mozilla/5.0 (\"quoted\"; ünï)",
	}.Stored()
}

type env struct {
	*testing.T
	s     session.Store
	clock *clock.Manual
	ctx   context.Context
}

// create stores a session of member m with the epoch.
func (e *env) create(id string, m member.ID, epoch int64) session.Record {
	e.Helper()
	r := Record(id, m, e.clock.Now())
	r.Epoch = epoch
	if err := e.s.Create(e.ctx, r); err != nil {
		e.Fatalf("create %s: %v", id, err)
	}
	return r
}

func (e *env) wantGone(r session.Record) {
	e.Helper()
	if got, err := e.s.Get(e.ctx, r.Hash); !errors.Is(err, session.ErrNotFound) {
		e.Errorf("session of %s: got %+v, %v; want ErrNotFound", r.Member, got, err)
	}
}

func (e *env) wantLive(r session.Record) {
	e.Helper()
	if got, err := e.s.Get(e.ctx, r.Hash); err != nil || got != r {
		e.Errorf("session: got %+v, %v\nwant %+v", got, err, r)
	}
}

func (e *env) wantDeleted(id member.ID, below int64, want int) {
	e.Helper()
	if n, err := e.s.DeleteMember(e.ctx, id, below); err != nil || n != want {
		e.Errorf("delete sessions of %q below epoch %d: got %d, %v; want %d", id, below, n, err, want)
	}
}

func remembered(e *env) {
	r := e.create("late", "m1", 1)
	ended := e.create("ended", "m1", 1)
	if got, err := e.s.Past(e.ctx, r.Hash); err != nil || got != r {
		e.Errorf("live: got %+v, %v", got, err)
	}
	if err := e.s.Delete(e.ctx, ended.Hash); err != nil {
		e.Fatal(err)
	}
	e.clock.Advance(r.Expires.Sub(e.clock.Now()))
	e.wantGone(r)
	if got, err := e.s.Past(e.ctx, r.Hash); err != nil || got.Hash != r.Hash || got.Member != r.Member || got.Epoch != r.Epoch || !got.Expires.Equal(r.Expires) {
		e.Errorf("at its end: got %+v, %v", got, err)
	}
	if got, err := e.s.List(e.ctx, "m1"); err != nil || len(got) != 0 {
		e.Errorf("it is listed: %v, %v", got, err)
	}
	if got, err := e.s.Past(e.ctx, ended.Hash); !errors.Is(err, session.ErrNotFound) {
		e.Errorf("ended: got %+v, %v", got, err)
	}
	e.clock.Advance(session.Remembered - time.Minute) // real time passes, too
	if _, err := e.s.Past(e.ctx, r.Hash); err != nil {
		e.Errorf("just within the day: %v", err)
	}
	e.clock.Advance(time.Minute)
	if got, err := e.s.Past(e.ctx, r.Hash); !errors.Is(err, session.ErrNotFound) {
		e.Errorf("a day later: got %+v, %v", got, err)
	}
}

func roundTrip(e *env) {
	full := e.create("full", "m1", 1<<40)
	e.wantLive(full)

	bare := Record("bare", "m1", e.clock.Now())
	bare.SessionIndex, bare.Address, bare.UserAgent, bare.Provider, bare.Epoch = "", "", "", "", 0
	if err := e.s.Create(e.ctx, bare); err != nil {
		e.Fatal(err)
	}
	e.wantLive(bare)

	fine := Record("fine", "m1", e.clock.Now())
	fine.Issued = fine.Issued.Add(1234 * time.Nanosecond).In(time.FixedZone("elsewhere", 3*3600))
	if err := e.s.Create(e.ctx, fine); err != nil {
		e.Fatal(err)
	}
	e.wantLive(fine.Stored())

	odd := Record("odd", "m1", e.clock.Now())
	odd.UserAgent = "curl/\xff\x00\xc3 \u2028 <b>"
	if err := e.s.Create(e.ctx, odd); err != nil {
		e.Fatalf("a User-Agent that is not text kept somebody out: %v", err)
	}
	if got, err := e.s.Get(e.ctx, odd.Hash); err != nil || !strings.HasPrefix(got.UserAgent, "curl/") || !utf8.ValidString(got.UserAgent) {
		e.Errorf("odd User-Agent: %+v, %v", got, err)
	}
}

func createTwice(e *env) {
	first := e.create("same", "victim", 1)
	second := Record("same", "attacker", e.clock.Now())
	if err := e.s.Create(e.ctx, second); err == nil {
		e.Error("a second record was created under the same id")
	}
	e.wantLive(first)
	if l, err := e.s.List(e.ctx, "attacker"); err != nil || len(l) != 0 {
		e.Errorf("the refused record is listed: %+v, %v", l, err)
	}
	e.wantDeleted("attacker", math.MaxInt64, 0)
	e.wantLive(first)
}

func createRace(e *env) {
	var won atomic.Int32
	race(20, func(i int) {
		r := Record("same", member.ID(fmt.Sprintf("m%d", i)), e.clock.Now())
		if e.s.Create(e.ctx, r) == nil {
			won.Add(1)
		}
	})
	if won.Load() != 1 {
		e.Errorf("%d creations of one id succeeded, want 1", won.Load())
	}
}

func unknown(e *env) {
	r := Record("never", "m1", e.clock.Now())
	e.wantGone(r)
	if err := e.s.Touch(e.ctx, session.Used(r.Hash, e.clock.Now())); err != nil {
		e.Errorf("touch: %v", err)
	}
	for range 2 {
		if err := e.s.Delete(e.ctx, r.Hash); err != nil {
			e.Errorf("delete: %v", err)
		}
	}
	e.wantDeleted("m1", math.MaxInt64, 0)
	if l, err := e.s.List(e.ctx, "m1"); err != nil || len(l) != 0 {
		e.Errorf("list: %+v, %v", l, err)
	}
	e.wantGone(r)
}

func refusesInvalid(e *env) {
	e.wantLive(e.create("benign", "m1", 1)) // the benign twin
	now := e.clock.Now()
	for name, spoil := range map[string]func(*session.Record){
		"no id":             func(r *session.Record) { r.Hash = secret.Hash{} },
		"no member":         func(r *session.Record) { r.Member = "" },
		"no version":        func(r *session.Record) { r.Version = 0 },
		"future version":    func(r *session.Record) { r.Version++ },
		"no issue time":     func(r *session.Record) { r.Issued = time.Time{} },
		"no last seen":      func(r *session.Record) { r.LastSeen = time.Time{} },
		"no end":            func(r *session.Record) { r.Expires = time.Time{} },
		"end before start":  func(r *session.Record) { r.Expires = r.Issued.Add(-time.Hour) },
		"expired already":   func(r *session.Record) { r.Issued, r.Expires = now.Add(-2*time.Hour), now.Add(-time.Hour) },
		"NUL in member":     func(r *session.Record) { r.Member = "m\x001" },
		"odd IdP session":   func(r *session.Record) { r.SessionIndex = "\xff" },
		"large member":      func(r *session.Record) { r.Member = member.ID(strings.Repeat("m", 1<<20)) },
		"large user agent":  func(r *session.Record) { r.UserAgent = strings.Repeat("u", 1<<20) },
		"large IdP session": func(r *session.Record) { r.SessionIndex = strings.Repeat("s", 1<<20) },
	} {
		r := Record("bad "+name, "m1", now)
		spoil(&r)
		if err := e.s.Create(e.ctx, r); err == nil {
			e.Errorf("%s: created", name)
		}
		if _, err := e.s.Get(e.ctx, r.Hash); err == nil {
			e.Errorf("%s: found afterwards", name)
		}
	}
	if l, err := e.s.List(e.ctx, "m1"); err != nil || len(l) != 1 {
		e.Errorf("list: got %d sessions, %v; want the benign one", len(l), err)
	}
}

func memberNames(e *env) {
	names := []member.ID{
		"m", "m1", "M1", "m1 ", "m*", "m?", "[m1]", "{m1}", "}m1{", "m:1", "m1:s", "m\x001", "m1\n", "'m1' or '1'='1", "m%", "m_", "ｍ1", "*", "..",
	}
	live := map[member.ID]session.Record{}
	for _, id := range names {
		live[id] = Record("of "+string(id), id, e.clock.Now())
		if err := e.s.Create(e.ctx, live[id]); err != nil {
			delete(live, id) // refusing an odd name is fine; mixing two up is not
		}
	}
	if _, ok := live["m1"]; !ok {
		e.Fatal("a plain member id was refused")
	}
	for _, id := range names {
		r, ok := live[id]
		if !ok {
			continue
		}
		if l, err := e.s.List(e.ctx, id); err != nil || len(l) != 1 || l[0] != r {
			e.Errorf("list of %q: %+v, %v", id, l, err)
		}
		e.wantDeleted(id, 2, 1)
		delete(live, id)
		for _, other := range live {
			e.wantLive(other)
		}
	}
}

func list(e *env) {
	base := e.clock.Now().Add(-time.Hour)
	var want []session.Record
	for i := range 5 {
		r := Record(fmt.Sprint("s", i), "m1", base.Add(time.Duration(i)*time.Minute))
		r.Expires = base.Add(time.Duration(30-i) * time.Hour) // the newest ends first
		want = append([]session.Record{r.Stored()}, want...)
	}
	for _, i := range []int{2, 0, 4, 1, 3} {
		if err := e.s.Create(e.ctx, want[i]); err != nil {
			e.Fatal(err)
		}
	}
	e.create("other", "m2", 1)
	got, err := e.s.List(e.ctx, "m1")
	if err != nil || len(got) != len(want) {
		e.Fatalf("got %d sessions, %v; want %d", len(got), err, len(want))
	}
	for i := range want {
		if got[i] != want[i] {
			e.Errorf("position %d: got %+v, want %+v", i, got[i], want[i])
		}
	}
}

func concurrent(e *env) {
	const n = 20
	now := e.clock.Now()
	race(n, func(i int) {
		r := Record(fmt.Sprint("s", i), "m1", now)
		if err := e.s.Create(e.ctx, r); err != nil {
			e.Errorf("create: %v", err)
			return
		}
		if got, err := e.s.Get(e.ctx, r.Hash); err != nil || got != r {
			e.Errorf("read own write: %+v, %v", got, err)
		}
	})
	if l, err := e.s.List(e.ctx, "m1"); err != nil || len(l) != n {
		e.Errorf("list: %d sessions, %v; want %d", len(l), err, n)
	}
}

func cancelled(e *env) {
	r := e.create("a", "m1", 1)
	ctx, cancel := context.WithCancel(e.ctx)
	cancel()
	if _, err := e.s.Get(ctx, r.Hash); err == nil || errors.Is(err, session.ErrNotFound) || errors.Is(err, session.ErrMismatch) {
		e.Errorf("get: %v; want an error that is neither ErrNotFound nor ErrMismatch", err)
	}
	if _, err := e.s.DeleteMember(ctx, "m1", 2); err == nil {
		e.Error("delete member: no error")
	}
	if _, err := e.s.List(ctx, "m1"); err == nil {
		e.Error("list: no error")
	}
	e.wantLive(r)
}

// race runs n functions at once and waits for them.
func race(n int, f func(i int)) {
	var wg sync.WaitGroup
	gate := make(chan struct{})
	for i := range n {
		wg.Go(func() {
			<-gate
			f(i)
		})
	}
	close(gate)
	wg.Wait()
}
