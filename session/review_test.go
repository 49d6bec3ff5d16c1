package session_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
)

// at makes a request with a cookie of its own for a session, as each origin has one.
func (w *world) at(id string, d session.Door, host string) *http.Request {
	w.t.Helper()
	rr := httptest.NewRecorder()
	if err := w.cookies.SetSession(rr, d, host, id); err != nil {
		w.t.Fatal(err)
	}
	r := httptest.NewRequest(http.MethodGet, "https://"+host+"/", nil)
	r.AddCookie(rr.Result().Cookies()[0])
	return r
}

func TestASessionInUseOnOneOriginIsNotIdleOnAnother(t *testing.T) {
	w := newWorld(t)
	// A clock of its own: hours that pass quietly, where moving the node's clock
	// would be a jump that voids the lease and with it the cache.
	quiet := &clock.Manual{}
	var err error
	w.m, err = session.NewManager(session.ManagerOptions{
		Store: w.store, Directory: w.dir, Cookies: w.cookies, Cutoff: w.cutoff, Now: quiet.Now,
		Limits:         session.Limits{Idle: time.Hour, Absolute: 8 * time.Hour},
		ProviderActive: func(string) bool { return true },
	})
	if err != nil {
		t.Fatal(err)
	}
	id, _, err := w.m.Start(t.Context(), session.Start{Member: w.member("ana"), Provider: "okta"})
	if err != nil {
		t.Fatal(err)
	}
	used, resting := w.at(id, session.App, "app.example.com"), w.at(id, session.Gateway, "sso.example.com")
	w.leased(func() *http.Request { return used })
	if _, err := w.m.AdmitGateway(t.Context(), resting); err != nil {
		t.Fatal(err)
	}
	for range 4 { // two hours in the application; the gateway's cookie rests, with a limit of one
		quiet.Advance(30 * time.Minute)
		if _, err := w.m.Admit(t.Context(), used); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.m.AdmitGateway(t.Context(), resting); err != nil {
		t.Errorf("the session is in use, but through its other cookie: %v", err)
	}
	quiet.Advance(61 * time.Minute)
	if _, err := w.m.Admit(t.Context(), used); !errors.Is(err, session.ErrExpired) {
		t.Errorf("idle on every origin: %v, want ErrExpired", err)
	}
	if _, err := w.m.AdmitGateway(t.Context(), resting); !errors.Is(err, session.ErrExpired) {
		t.Errorf("idle on every origin: %v, want ErrExpired", err)
	}
	if err := w.m.Good(t.Context(), id); !errors.Is(err, session.ErrExpired) {
		t.Errorf("Good = %v of an idle session, want ErrExpired", err)
	}
	if err := w.m.Good(t.Context(), secret.NewToken()); !errors.Is(err, session.ErrRevoked) {
		t.Errorf("Good = %v of no session, want ErrRevoked", err)
	}
}

func TestACutThatHangsDoesNotHoldUpTheRowsBehindIt(t *testing.T) {
	w := newWorld(t)
	ana := w.member("ana")
	_, req := w.signIn(ana)
	w.leased(req)
	w.streams.hang = member.Recheck
	w.log.add(member.Revocation{Kind: member.Recheck, Scope: member.ScopeAll})
	begin := time.Now()
	if err := w.cutoff.Barrier(t.Context(), w.dir.deactivate("ana")); err != nil {
		t.Fatalf("the deactivation behind it was never confirmed: %v", err)
	}
	if d := time.Since(begin); d > 8*time.Second {
		t.Errorf("confirmed after %v", d)
	}
	if p, _ := w.m.Admit(t.Context(), req()); p != nil {
		t.Error("admitted after the barrier")
	}
}

func TestAChangeWhoseCallerHangsUpBecomesTrueAllTheSame(t *testing.T) {
	w := newWorld(t) // an IdP with a short time-out
	_, req := w.signIn(w.member("ana"))
	w.leased(req)
	w.log.setFail(errDown)
	seq := w.dir.deactivate("ana")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := w.cutoff.Barrier(ctx, seq); !errors.Is(err, session.ErrBarrier) {
		t.Fatalf("Barrier = %v, want ErrBarrier: nothing is confirmed", err)
	}
	w.log.setFail(nil)
	eventually(t, "the row is applied without anybody waiting", func() bool { return w.cutoff.Applied() >= seq })
	if p, _ := w.m.Admit(t.Context(), req()); p != nil {
		t.Error("admitted")
	}
	if err := w.cutoff.Barrier(t.Context(), seq); err != nil { // C2: the retry
		t.Errorf("retry: %v", err)
	}
}
