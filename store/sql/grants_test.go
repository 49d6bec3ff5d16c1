package sql

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/ssogate/ssogate/internal/clock"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/internal/testserver"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/member/membertest"
	"github.com/ssogate/ssogate/session"
	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso"
	"github.com/ssogate/ssogate/sso/refresh"
	"github.com/ssogate/ssogate/sso/ssotest"
)

func TestGrantsConformance(t *testing.T) {
	for name, url := range engines {
		t.Run(name, func(t *testing.T) {
			u := url(t)
			d := open(t, u)
			other := d
			if name == "PostgreSQL" { // another node: a pool of its own
				other = open(t, u)
			}
			ssotest.Grants(t, func(t *testing.T) (one, two refresh.Store) {
				if _, err := d.writes.ExecContext(t.Context(), "DELETE FROM grants"); err != nil {
					t.Fatal(err)
				}
				return d.Grants(), other.Grants()
			})
		})
	}
}

// Fault 9: a refresh token does not lie in the database when its session is over.
func TestSweepRemovesTheGrantsOfSessionsThatAreOver(t *testing.T) {
	onEngines(t, func(t *testing.T, d *DB) {
		ctx, now := t.Context(), time.UnixMilli(1_800_000_000_000)
		dir := &member.Directory{Store: d, Revoker: &membertest.Revoker{}}
		add := func(name string) {
			m := member.Member{
				ID: member.ID("m-" + name), UserName: name, Role: member.RoleMember, Source: member.SourceSCIM,
				Wish: true, Epoch: 1, Version: 1, Created: now, Modified: now,
			}
			if err := d.Update(ctx, func(tx member.Tx) error { return tx.InsertMember(m) }); err != nil {
				t.Fatal(err)
			}
		}
		put := func(session, name, provider string, expires time.Time) {
			t.Helper()
			if err := d.Grants().Put(ctx, refresh.Grant{
				Session: secret.Sum(session), Member: member.ID("m-" + name), Epoch: 1, Token: []byte("sealed"),
				Identity: member.Identity{Provider: provider, Issuer: "https://id.example.com", Subject: name},
				Due:      now, Expires: expires,
			}); err != nil {
				t.Fatal(err)
			}
		}
		later := now.Add(time.Hour)
		for _, name := range []string{"ana", "ben", "cleo"} {
			add(name)
		}
		put("live", "ana", "okta", later)
		put("signed out", "ana", "okta", later)
		put("expired", "ana", "okta", now)
		put("provider ended", "ana", "keycloak", later)
		put("deactivated", "ben", "okta", later)
		put("deleted member", "nobody", "okta", later)
		by := member.Actor{Name: "test"}
		if err := dir.EndSession(ctx, by, member.EndedSession{Hash: secret.Sum("signed out").String(), Member: "m-ana", Until: later, Reason: "logout"}); err != nil {
			t.Fatal(err)
		}
		if err := dir.EndSessions(ctx, by, "m-ben", "signed out everywhere"); err != nil {
			t.Fatal(err)
		}
		if err := dir.EndProvider(ctx, by, "keycloak", "disabled"); err != nil {
			t.Fatal(err)
		}
		if err := d.Grants().Sweep(ctx, now); err != nil {
			t.Fatal(err)
		}
		left := claimAll(t, d, now, "okta")
		if len(left) != 1 || left[0].Session != secret.Sum("live") || rowsOf(t, d, "grants") != 1 {
			t.Errorf("%d rows are left, of them due: %+v; want the live one", rowsOf(t, d, "grants"), left)
		}
		if err := dir.EndEveryone(ctx, by, "keys leaked"); err != nil {
			t.Fatal(err)
		}
		if err := d.Grants().Sweep(ctx, now); err != nil {
			t.Fatal(err)
		}
		if n := rowsOf(t, d, "grants"); n != 0 {
			t.Errorf("%d rows are left after everybody was signed out", n)
		}
	})
}

func claimAll(t *testing.T, d *DB, now time.Time, provider string) []refresh.Grant {
	t.Helper()
	out, err := d.Grants().Claim(t.Context(), refresh.Claim{ID: "all", Provider: provider, Now: now, Until: now.Add(time.Minute), Limit: 100})
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// rotating is a provider that rotates its tokens: a second use of one is refused
// for good, and counted.
type rotating struct {
	sso.Provider
	mu      sync.Mutex
	used    map[string]int
	arrived chan struct{} // one for each question
	hold    chan struct{} // questions wait for it
}

func (p *rotating) Refresh(_ context.Context, _ member.Identity, token string) (sso.Refreshed, error) {
	p.mu.Lock()
	p.used[token]++
	n := p.used[token]
	p.mu.Unlock()
	p.arrived <- struct{}{}
	<-p.hold
	if n > 1 {
		return nil, &sso.RefreshError{Outcome: "refused", Refused: true}
	}
	return rotated(token + "+"), nil
}

type rotated string

func (r rotated) Token() string              { return string(r) }
func (rotated) Verify(context.Context) error { return nil }

// Fault 9, single flight: two nodes on one PostgreSQL, and every token is used once.
func TestTwoNodesRefreshEachGrantOnce(t *testing.T) {
	url := testserver.Postgres(t)
	d := open(t, url)
	const grants = 25
	clk := &clock.Manual{}
	p := &rotating{used: map[string]int{}, arrived: make(chan struct{}, 10*grants), hold: make(chan struct{})}
	live := &settings.Live{}
	live.Store(&settings.Settings{Providers: []settings.Provider{{
		ID: "okta", Protocol: settings.OIDC, Active: true, OIDC: settings.OIDCProvider{Recheck: time.Hour},
	}}})
	sealer, err := secret.NewSealer(make([]byte, 32))
	if err != nil {
		t.Fatal(err)
	}
	revoker := &membertest.Revoker{}
	var nodes []*refresh.Keeper
	for _, on := range []*DB{d, open(t, url)} {
		k, err := refresh.New(refresh.Options{
			Store: on.Grants(), Sealer: sealer, Live: live, Providers: func(string) sso.Provider { return p },
			Directory: &member.Directory{Store: on, Revoker: revoker}, Log: slog.New(slog.DiscardHandler), Now: clk.Now,
		})
		if err != nil {
			t.Fatal(err)
		}
		nodes = append(nodes, k)
	}
	now := clk.Now()
	if err := d.Update(t.Context(), func(tx member.Tx) error {
		return tx.InsertMember(member.Member{ID: "m", UserName: "ana", Role: member.RoleMember, Source: member.SourceSCIM, Wish: true, Epoch: 1, Version: 1, Created: now, Modified: now})
	}); err != nil {
		t.Fatal(err)
	}
	for i := range grants {
		r := session.Record{Hash: secret.Sum(fmt.Sprint(i)), Member: "m", Epoch: 1, Provider: "okta", Expires: now.Add(24 * time.Hour)}
		if err := nodes[0].Keep(t.Context(), r, member.Identity{Provider: "okta", Issuer: "i", Subject: "s"}, fmt.Sprint("token ", i)); err != nil {
			t.Fatal(err)
		}
	}
	clk.Advance(time.Hour)
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for _, k := range nodes {
		wg.Go(func() { k.Run(ctx) })
	}
	for i := range grants {
		select {
		case <-p.arrived:
		case <-time.After(30 * time.Second):
			t.Fatalf("%d of %d were asked about within 30 s", i, grants)
		}
		if i == 7 { // four each: both are in the middle of it
			close(p.hold)
		}
	}
	cancel()
	wg.Wait() // what was asked is finished
	for token, n := range p.used {
		if n != 1 {
			t.Errorf("%s was used %d times", token, n)
		}
	}
	if len(p.used) != grants || len(revoker.Take()) != 0 || len(claimAll(t, d, clk.Now(), "okta")) != 0 {
		t.Errorf("%d of %d asked about; sessions ended, or grants left unsettled", len(p.used), grants)
	}
}
