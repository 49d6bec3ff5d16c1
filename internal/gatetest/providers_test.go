package gatetest

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/internal/demo"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso/ssotest"
)

// published adds a GitHub Enterprise Server to a running demo, while it runs. The demo
// requires SSO, so the draft is tested first, in the lane of its own.
func (w *world) published(hub *ssotest.GitHub, base string) settings.Provider {
	w.t.Helper()
	hub.RedirectURI = w.Facts.Gateway + "/oauth/hub/callback"
	p := settings.Provider{
		ID: "hub", Name: "Harbour GitHub", Preset: settings.GitHubApp, Protocol: settings.GitHub, Join: member.JoinIDP, Groups: settings.GroupsTeams, Active: true,
		OIDC:   settings.OIDCProvider{ClientID: hub.ClientID, ClientSecret: hub.ClientSecret, Recheck: refreshEvery},
		GitHub: settings.GitHubProvider{BaseURL: base, Organizations: []string{"harbour"}},
	}
	w.change(run.SettingsChange{Kind: run.SaveProvider, Provider: p})
	publish := run.SettingsChange{Kind: run.PublishVersion, Actor: "cli:op", Number: w.newest()}
	if _, err := w.Server.SettingsAdmin().Change(w.t.Context(), publish); err == nil || !strings.Contains(err.Error(), "was not tested") {
		w.t.Errorf("I03: an untested provider is published while Require SSO is on: %v", err)
	}
	w.passes(hub, p)
	w.change(publish)
	return p
}

// passes tests a saved provider as a person would.
func (w *world) passes(hub *ssotest.GitHub, p settings.Provider) {
	w.t.Helper()
	begin, err := w.Server.Tests().Begin(w.t.Context(), run.TestQuestion{Actor: "cli:op", Provider: p.ID, Digest: settings.Digest(p)})
	if err != nil {
		w.t.Fatal(err)
	}
	hub.Choose(100)
	s := tested(w.t, demo.NewVisitor(), begin.URL, "GitHub", ssotest.Person{})
	if r, err := w.Server.Tests().Report(w.t.Context(), begin.ID); err != nil || !r.Passed() {
		w.t.Fatalf("the test of the draft: %v %s %+v", err, s.Title, r.Checks)
	}
}

func (w *world) change(c run.SettingsChange) {
	w.t.Helper()
	c.Actor = "cli:op"
	if _, err := w.Server.SettingsAdmin().Change(w.t.Context(), c); err != nil {
		w.t.Fatalf("%s: %v", c.Kind, err)
	}
}

func (w *world) newest() int64 {
	w.t.Helper()
	list, err := w.Server.SettingsAdmin().Versions(w.t.Context())
	if err != nil || len(list) == 0 {
		w.t.Fatalf("%v %v", list, err)
	}
	return list[0].Number
}

// byGitHub signs an account in, or answers why not.
func (w *world) byGitHub(hub *ssotest.GitHub, id int64) (*demo.Visitor, error) {
	hub.Choose(id)
	v := demo.NewVisitor()
	_, err := v.SignIn(w.t.Context(), w.Facts.App+"/", "GitHub", ssotest.Person{})
	return v, err
}

// A provider is published, used, changed and switched off while ssogate runs, on both
// engines; groups are teams; who loses his organisation is out (rows O12, O14, fault 9).
func TestAProviderIsPublishedWhileItRuns(t *testing.T) {
	engines(t, func(t *testing.T, with func(*run.DemoOptions)) {
		hub := &ssotest.GitHub{ClientID: "Ov23li0123456789", ClientSecret: "d6b1f0f6a7e94c0e8f3a"}
		account := func(id int64, login, state string) ssotest.GitHubUser {
			return ssotest.GitHubUser{
				ID: id, Login: login, Emails: []ssotest.GitHubEmail{{Email: login + "@hub.example", Primary: true, Verified: true}},
				Orgs: map[string]string{"harbour": state}, Teams: map[string]string{"harbour/pilots": "active"},
			}
		}
		hub.Set(account(100, "octo-ana", "active"))
		hub.Set(account(101, "octo-eve", "pending"))
		srv := httptest.NewServer(hub)
		t.Cleanup(srv.Close)
		w := start(t, with, func(o *run.DemoOptions) {
			o.Adjust = func(c *config.Config) {
				c.Outbound.Allow = append(c.Outbound.Allow, strings.TrimPrefix(srv.URL, "http://"))
			}
		})
		if _, err := w.byGitHub(hub, 100); err == nil {
			t.Fatal("signed in through a provider that does not exist")
		}
		p := w.published(hub, srv.URL)
		if _, err := w.byGitHub(hub, 101); err == nil {
			t.Error("O14: a pending membership signs in")
		}
		v, err := w.byGitHub(hub, 100)
		if err != nil {
			t.Fatal(err)
		}
		who := w.api(v, "/.sso/whoami").Body
		if !strings.Contains(who, "pilots") {
			t.Errorf("her groups are not her teams: %s", who)
		}
		hub.Set(account(100, "countess", "active"))
		again, err := w.byGitHub(hub, 100)
		if err != nil {
			t.Fatalf("renamed: %v", err)
		}
		if memberOf(who) == "" || memberOf(who) != memberOf(w.api(again, "/.sso/whoami").Body) {
			t.Error("O14: a renamed login became another member")
		}
		// Fault 9: GitHub is down and nobody is out; the organisation is lost and she is.
		ws := w.socket(v)
		gone := account(100, "countess", "active")
		gone.Orgs = nil
		hub.Set(gone)
		w.clock.Advance(refreshEvery)
		if err := closedWith(ws, websocket.StatusPolicyViolation); err != nil {
			t.Errorf("her WebSocket after she lost the organisation: %v", err)
		}
		if n, _ := strconv.Atoi(w.metric(`token_refresh_total{outcome="refused",provider="hub"}`)); n == 0 {
			t.Error("not counted")
		}
		// Switched off: whoever is signed in through it is out before the answer.
		hub.Set(account(100, "countess", "active"))
		if v, err = w.byGitHub(hub, 100); err != nil {
			t.Fatal(err)
		}
		w.change(run.SettingsChange{Kind: run.DisableProvider, ID: p.ID})
		if a := w.api(v, "/"); a.Status != http.StatusUnauthorized {
			t.Errorf("after it was switched off: %d", a.Status)
		}
		if _, err := w.byGitHub(hub, 100); err == nil {
			t.Error("S30: signed in through a provider that is switched off")
		}
		ids := []string{}
		for _, p := range w.Server.Settings().Load().Providers {
			ids = append(ids, p.ID)
		}
		if !slices.Contains(ids, "hub") || len(ids) != 3 {
			t.Errorf("providers %q", ids)
		}
		if strings.Contains(w.log.String(), hub.ClientSecret) {
			t.Error("L01: the client secret is in the log")
		}
	})
}

// memberOf is the id that whoami names.
func memberOf(body string) string {
	_, rest, _ := strings.Cut(body, `"id":"`)
	id, _, _ := strings.Cut(rest, `"`)
	return id
}
