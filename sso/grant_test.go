package sso_test

import (
	"bytes"
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/session"
	"github.com/ssogate/ssogate/sso"
	"github.com/ssogate/ssogate/sso/ssotest"
)

const refreshToken = "a-refresh-token-that-nobody-may-see"

// grants remembers what it was given to keep.
type grants struct {
	mu   sync.Mutex
	kept []keptGrant
	err  error
}

type keptGrant struct {
	session session.Record
	who     member.Identity
	token   string
}

func (g *grants) Keep(_ context.Context, r session.Record, who member.Identity, token string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.err != nil {
		return g.err
	}
	g.kept = append(g.kept, keptGrant{r, who, token})
	return nil
}

// seenPending keeps every value that was ever stored.
type seenPending struct {
	*ssotest.PendingFake
	mu   sync.Mutex
	seen bytes.Buffer
	log  bytes.Buffer // of the Flow alone
}

func (p *seenPending) Put(ctx context.Context, k sso.Key, v []byte, until time.Time) error {
	p.mu.Lock()
	p.seen.Write(v)
	p.mu.Unlock()
	return p.PendingFake.Put(ctx, k, v, until)
}

// newGrantWorld is a world whose providers give refresh tokens.
func newGrantWorld(t *testing.T) (*world, *grants, *seenPending) {
	t.Helper()
	g, seen := &grants{}, &seenPending{}
	w := newWorld(t, func(o *sso.Options) {
		seen.PendingFake = ssotest.NewPendingFake(o.Now, 1000)
		o.Grants, o.Pending = g, seen
		o.Log = slog.New(slog.NewTextHandler(&lockedWriter{b: &seen.log}, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	w.okta.change = func(a *sso.Assertion) { a.RefreshToken = refreshToken }
	return w, g, seen
}

// Fault 9 and row L01: it goes from the provider to its keeper, and nowhere else.
func TestTheRefreshTokenOfASignInIsKeptWithItsSession(t *testing.T) {
	w, g, seen := newGrantWorld(t)
	b := w.browser()
	page := b.open(app+"/", "ana")
	if page.body != "app for ana" {
		t.Fatalf("sign-in: %s", page.reason())
	}
	if len(g.kept) != 1 {
		t.Fatalf("kept %d times", len(g.kept))
	}
	k := g.kept[0]
	if k.token != refreshToken || k.who.Subject != "ana" || k.who.Provider != "okta" || k.session.Hash.IsZero() || k.session.Expires.IsZero() {
		t.Errorf("kept %+v", k)
	}
	seen.wantSealed(t)
	for host, cookies := range b.jar {
		for name, value := range cookies {
			if strings.Contains(value, refreshToken) {
				t.Errorf("L01: in the cookie %s of %s", name, host)
			}
		}
	}
	if strings.Contains(seen.log.String(), refreshToken) {
		t.Error("L01: in the log")
	}
	// Another sign-in of the same browser keeps the session, and what is asked about it.
	b.follow(b.get(gateway+"/login?provider=okta"), "ana")
	if len(g.kept) != 1 {
		t.Errorf("kept %d times for one session", len(g.kept))
	}
}

func (p *seenPending) wantSealed(t *testing.T) {
	t.Helper()
	p.mu.Lock()
	defer p.mu.Unlock()
	if !strings.Contains(p.seen.String(), `"grant":`) || strings.Contains(p.seen.String(), refreshToken) {
		t.Error("L01: the store of pending sign-ins holds no sealed token, or an open one")
	}
}

func TestTheRefreshTokenOutlivesTheInvitationPage(t *testing.T) {
	w, g, seen := newGrantWorld(t)
	w.invite("ana")
	b := w.browser()
	page := b.open(app+"/", "ana")
	if len(g.kept) != 0 || strings.Contains(page.body, refreshToken) {
		t.Fatal("kept before there is a session, or shown")
	}
	b.follow(b.post(gateway+"/complete/accept", url.Values{"code": {page.field("code")}}), "")
	if len(g.kept) != 1 || g.kept[0].token != refreshToken {
		t.Errorf("kept %+v", g.kept)
	}
	seen.wantSealed(t)
}

// Fault 9: no session that could never be asked about.
func TestASessionWhoseGrantCannotBeKeptIsGivenToNobody(t *testing.T) {
	w, g, _ := newGrantWorld(t)
	g.err = errDown
	b := w.browser()
	a := b.open(app+"/", "ana")
	if a.StatusCode != http.StatusServiceUnavailable || b.cookie(gateway, "gateway-session") != "" {
		t.Fatalf("answered %s with a cookie %q", a.reason(), b.cookie(gateway, "gateway-session"))
	}
	if w.audit.count("signin") != 1 {
		t.Error("the attempt was not audited")
	}
	id := w.memberOf("ana")
	if err := w.members.View(t.Context(), func(tx member.Tx) error {
		list, err := w.store.List(t.Context(), id)
		for _, r := range list { // not tidied yet, perhaps
			if was, err := tx.SessionEnded(r.Hash.String()); err != nil || !was {
				t.Errorf("a session that nobody can use is left as if it were live: %v", err)
			}
		}
		return err
	}); err != nil {
		t.Fatal(err)
	}
	g.err = nil
	if a := b.open(app+"/", "ana"); a.body != "app for ana" || len(g.kept) != 1 {
		t.Errorf("afterwards: %s, kept %d", a.reason(), len(g.kept))
	}
}

// memberOf finds a member by name.
func (w *world) memberOf(name string) (id member.ID) {
	w.t.Helper()
	if err := w.members.View(w.t.Context(), func(tx member.Tx) error {
		m, err := tx.MemberByUserName(member.FoldUserName(name))
		id = m.ID
		return err
	}); err != nil {
		w.t.Fatal(err)
	}
	return id
}

// A sealed token belongs to one code: another's does not open it.
func TestATokenIsSealedForTheBearerOfTheCode(t *testing.T) {
	w, g, seen := newGrantWorld(t)
	b := w.browser()
	c := b.code(app+"/", "ana")
	h := secret.Sum(strings.TrimPrefix(c, gateway+"/complete?code="))
	raw, err := seen.Get(t.Context(), sso.Key{Kind: sso.KindCode, Hash: h})
	if err != nil {
		t.Fatal(err)
	}
	other := b.code(app+"/", "ana")
	h2 := secret.Sum(strings.TrimPrefix(other, gateway+"/complete?code="))
	if err := seen.Put(t.Context(), sso.Key{Kind: sso.KindCode, Hash: h2}, raw, w.clock.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
	if a := b.get(other); a.StatusCode != http.StatusServiceUnavailable || len(g.kept) != 0 {
		t.Errorf("a record under another code: %s, kept %d", a.reason(), len(g.kept))
	}
}
