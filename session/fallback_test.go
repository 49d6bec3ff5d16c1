package session_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
)

// fallback is a Manager for fallback owners beside the usual one, on the same store:
// as in the embedded mode.
func (w *world) fallback() *session.Manager { return w.trusting(true) }

// trusting is a Manager to which every provider counts, whatever settings say: what
// keeps the sessions of fallback owners apart is no setting.
func (w *world) trusting(fallback bool) *session.Manager {
	w.t.Helper()
	m, err := session.NewManager(session.ManagerOptions{
		Store: w.store, Directory: w.dir, Cookies: w.cookies, Cutoff: w.cutoff, Now: w.clock.Now, Fallback: fallback,
		Limits: session.Limits{Idle: 30 * time.Minute, Absolute: 30 * time.Minute}, ProviderActive: func(string) bool { return true },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return m
}

func (w *world) owner() member.Member {
	m := w.member("rescue")
	m.Role, m.Fallback = member.RoleOwner, true
	w.dir.put(m)
	return m
}

// carrying is a request with a cookie that holds id, made for a door.
func (w *world) carrying(d, as session.Door, host, id string) *http.Request {
	w.t.Helper()
	sealed, named := httptest.NewRecorder(), httptest.NewRecorder()
	if err := errors.Join(w.cookies.SetSession(sealed, d, host, id), w.cookies.SetSession(named, as, host, id)); err != nil {
		w.t.Fatal(err)
	}
	r := httptest.NewRequest("GET", "https://"+host+"/", nil)
	r.Header.Set("Cookie", named.Result().Cookies()[0].Name+"="+sealed.Result().Cookies()[0].Value)
	return r
}

func TestI02FallbackSessionsAreNeverAdmittedAtAnApp(t *testing.T) {
	w := newWorld(t)
	f, usual := w.fallback(), w.trusting(false)
	id, rec, err := f.Start(t.Context(), session.Start{Member: w.owner(), Provider: session.FallbackProvider})
	if err != nil {
		t.Fatal(err)
	}
	const gateway, app = "sso.example.com", "app.example.com"
	// Benign twin: the console is opened.
	p, err := f.AdmitGateway(t.Context(), w.carrying(session.Fallback, session.Fallback, gateway, id))
	if err != nil || p.Provider != session.FallbackProvider || p.Session != rec.Hash {
		t.Fatalf("%+v, %v", p, err)
	}
	for name, r := range map[string]*http.Request{
		"its own cookie":                    w.carrying(session.Fallback, session.Fallback, app, id),
		"its own cookie under another name": w.carrying(session.Fallback, session.App, app, id),
		"a genuine cookie of the app":       w.carrying(session.App, session.App, app, id),
	} {
		for who, m := range map[string]*session.Manager{"the usual manager": usual, "its own manager": f} {
			if p, err := m.Admit(t.Context(), r); err == nil {
				t.Errorf("%s: %s admitted %v at an app", name, who, p.Member.ID)
			}
		}
	}
	if p, err := usual.AdmitGateway(t.Context(), w.carrying(session.Gateway, session.Gateway, gateway, id)); !errors.Is(err, session.ErrRevoked) {
		t.Errorf("by a cookie of the usual kind, which can be handed to apps: %v, %v", p, err)
	}
	if err := usual.Good(t.Context(), id); !errors.Is(err, session.ErrRevoked) {
		t.Errorf("good for the sign-in flow: %v", err)
	}
	if _, err := f.Token(w.carrying(session.Fallback, session.Fallback, gateway, id)); err == nil {
		t.Error("its id can be had for a hand-off")
	}
}

func TestFallbackSessionsAreForFallbackOwnersAndShort(t *testing.T) {
	w := newWorld(t)
	f := w.fallback()
	ana, owner := w.member("ana"), w.owner()
	for name, tc := range map[string]struct {
		m *session.Manager
		s session.Start
	}{
		"a member":                    {f, session.Start{Member: ana, Provider: session.FallbackProvider}},
		"through a provider":          {f, session.Start{Member: owner, Provider: "okta"}},
		"by the usual manager":        {w.trusting(false), session.Start{Member: owner, Provider: session.FallbackProvider}},
		"nobody":                      {f, session.Start{Provider: session.FallbackProvider}},
		"an owner who is no fallback": {f, session.Start{Member: func() member.Member { m := owner; m.Fallback = false; return m }(), Provider: session.FallbackProvider}},
	} {
		if _, _, err := tc.m.Start(t.Context(), tc.s); !errors.Is(err, session.ErrMember) {
			t.Errorf("%s: %v", name, err)
		}
	}
	id, rec, err := f.Start(t.Context(), session.Start{Member: owner, Provider: session.FallbackProvider})
	if err != nil || rec.Expires.Sub(rec.Issued) != 30*time.Minute {
		t.Fatalf("%+v, %v", rec, err)
	}
	w.clock.Advance(31 * time.Minute)
	if _, err := f.AdmitGateway(t.Context(), w.carrying(session.Fallback, session.Fallback, "sso.example.com", id)); !errors.Is(err, session.ErrExpired) && !errors.Is(err, session.ErrRevoked) {
		t.Errorf("after half an hour: %v", err)
	}
}
