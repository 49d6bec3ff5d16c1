//go:build interop

package interop

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"github.com/go-jose/go-jose/v4"

	"github.com/ssogate/ssogate/config"
	"github.com/ssogate/ssogate/internal/testserver"
)

// opSettings is the file that provider.mjs reads.
type opSettings struct {
	Issuer string                       `json:"issuer"`
	Port   int                          `json:"port"`
	Client map[string]any               `json:"client"`
	JWKS   map[string][]jose.JSONWebKey `json:"jwks"`
	People map[string]map[string]any    `json:"people"`

	AlwaysRefresh bool `json:"alwaysRefresh"` // refresh tokens without prompt=consent
}

// node is a gateway before oidc-provider.
type node struct {
	*site
	set opSettings
}

const clientSecret = "only-for-tests-and-long-enough-to-be-one"

func newNode(t *testing.T) *node {
	t.Helper()
	packages := os.Getenv("SSOGATE_INTEROP_NODE")
	wanted(t, "node", filepath.Join(packages, "node_modules", "oidc-provider"))
	s := prepare(t)
	n := &node{site: s, set: opSettings{
		Issuer: s.provider(), Port: s.ports.provider,
		Client: map[string]any{
			"client_id": "ssogate", "client_secret": clientSecret, "grant_types": []string{"authorization_code", "refresh_token"},
			"redirect_uris":             []string{s.gateway() + "/oauth/" + oidcID + "/callback"},
			"post_logout_redirect_uris": []string{s.gateway() + "/logout/done"},
			"backchannel_logout_uri":    s.gateway() + "/oauth/" + oidcID + "/backchannel-logout", "backchannel_logout_session_required": true,
		},
		JWKS: map[string][]jose.JSONWebKey{"keys": {jwk(t, "first")}},
		People: map[string]map[string]any{
			"ben":  {"email": "ben@node.example", "email_verified": true, "name": "Ben Okafor", "preferred_username": "ben"},
			"cleo": {"email": "cleo@node.example", "email_verified": true, "name": "Cléo Nørgaard", "preferred_username": "cleo"},
			"eve":  {"email": "eve@node.example", "email_verified": false, "name": "Eve", "preferred_username": "eve"},
		},
	}}
	n.serve()
	s.start(config.Provider{
		ID: oidcID, Name: oidcName, Protocol: config.ProtocolOIDC, Join: config.JoinIDP, Issuer: s.provider(), ClientID: "ssogate", ClientSecret: clientSecret,
		Scopes: []string{"openid", "email", "profile"}, UnverifiedEmail: "refuse", Recheck: recheck,
		Attributes: config.Attributes{UserName: []string{"email"}, Email: []string{"email"}, DisplayName: []string{"name"}},
	})
	return n
}

// serve starts oidc-provider, or starts it anew with other keys.
func (n *node) serve() {
	n.t.Helper()
	if n.running.Stop != nil {
		n.running.Stop()
	}
	n.save()
	here, err := os.Getwd()
	if err != nil {
		n.t.Fatal(err)
	}
	n.running = testserver.Program(n.t, []string{"-C", os.Getenv("SSOGATE_INTEROP_NODE"), "NO_UPDATE_NOTIFIER=1"},
		n.provider()+"/.well-known/openid-configuration", "node", filepath.Join(here, "oidc", "provider.mjs"), filepath.Join(n.dir, "settings.json"))
}

func (n *node) save() { n.t.Helper(); n.writeJSON("settings.json", n.set) }

// said are the lines that provider.mjs printed which have all of these values.
func (n *node) said(want map[string]string) (list []map[string]any) {
	n.t.Helper()
	b, err := os.ReadFile(n.running.Log)
	if err != nil {
		n.t.Fatal(err)
	}
	lines := bufio.NewScanner(bytes.NewReader(b))
	lines.Buffer(nil, 1<<20)
next:
	for lines.Scan() {
		var line map[string]any
		if json.Unmarshal(lines.Bytes(), &line) != nil {
			continue
		}
		for k, v := range want {
			if line[k] != v {
				continue next
			}
		}
		list = append(list, line)
	}
	return list
}

// begin leads a new browser through the provider's two forms, as user.
func (n *node) begin(t *testing.T, user string) tab {
	t.Helper()
	b := newTab(t)
	b.visit(n.Facts.App + "/")
	b.press(oidcName)
	b.password(user, "any")
	b.until("the provider's consent", `location.origin === `+quote(n.provider())+` && document.body && document.body.innerText.includes("Authorize")`)
	b.press("Continue")
	return b
}

func (n *node) signIn(t *testing.T, user string) tab {
	t.Helper()
	b := n.begin(t, user)
	b.arrive(n.Facts.App + "/")
	if w := b.whoami(); w.UserName != user+"@node.example" || w.Provider != oidcID || w.DisplayName != n.set.People[user]["name"] {
		t.Fatalf("signed in as %+v", w)
	}
	return b
}

// Discovery, PKCE, nonce, state, and userinfo: oidc-provider puts no e-mail address
// into ID tokens of the code flow (Core 5.4).
func TestNodeOIDCSignIn(t *testing.T) {
	n := newNode(t)
	n.signIn(t, "cleo")
	asked := n.said(map[string]string{"path": "/auth"})
	if len(asked) != 1 {
		t.Fatalf("%d authorization requests", len(asked))
	}
	query, _ := asked[0]["query"].(map[string]any)
	for _, name := range []string{"state", "nonce", "code_challenge"} {
		if v, _ := query[name].(string); len(v) < 43 {
			t.Errorf("%s is %q", name, v)
		}
	}
	if query["code_challenge_method"] != "S256" {
		t.Errorf("method %v", query["code_challenge_method"])
	}
	for _, path := range []string{"/token", "/me"} {
		if got := n.said(map[string]string{"path": path}); len(got) != 1 || got[0]["status"] != float64(200) {
			t.Errorf("%s: %v", path, got)
		}
	}
}

func TestNodeOIDCUnverifiedAddressIsRefused(t *testing.T) {
	n := newNode(t)
	n.signIn(t, "ben")
	b := n.begin(t, "eve")
	b.reads(n.gateway(), "Reference")
	n.logged("sign-in refused", `"provider":"`+oidcID+`"`)
	if b.visit(n.Facts.App + "/"); b.eval(`location.origin`) == n.Facts.App {
		t.Error("signed in with an address that nobody has verified")
	}
}

// A new signing key is found when the first token comes that names it.
func TestNodeOIDCKeyRotation(t *testing.T) {
	n := newNode(t)
	n.signIn(t, "ben")
	n.set.JWKS["keys"] = []jose.JSONWebKey{jwk(t, "second"), n.set.JWKS["keys"][0]}
	n.serve()
	n.signIn(t, "ben")
	n.set.JWKS["keys"] = n.set.JWKS["keys"][:1] // the first is gone
	n.serve()
	n.signIn(t, "ben")
}

// Another account: prompt=login and max_age=0, and auth_time says that it was done.
func TestNodeOIDCAnotherAccount(t *testing.T) {
	n := newNode(t)
	b := n.signIn(t, "ben")
	b.visit(n.gateway() + "/login?force=1")
	b.press(oidcName)
	b.password("cleo", "any")
	b.press("Continue")
	b.arrive(n.Facts.App + "/")
	if w := b.whoami(); w.UserName != "cleo@node.example" {
		t.Errorf("signed in as %+v", w)
	}
}

// RP-initiated logout, with an ID token as hint: no question is asked there.
func TestNodeOIDCLogoutThatBeginsHere(t *testing.T) {
	n := newNode(t)
	b := n.signIn(t, "ben")
	b.visit(n.Facts.App + "/.sso/logout")
	b.press("Sign out")
	// oidc-provider asks all the same whether its own session is to end.
	b.until("the provider's question", `location.origin === `+quote(n.provider())+` && document.body && document.body.innerText.includes("sign-out")`)
	b.press("Yes, sign me out")
	b.reads(n.gateway(), oidcName+" has signed you out too")
	b.signedOut(n.Facts.App)
	b.press(oidcName)
	b.until("the provider asks who", `location.origin === `+quote(n.provider())+` && document.querySelector("input[type=password]")`)
}

// Back-channel logout: signed out at the provider, the session here ends without the
// browser. Another browser of the same person has another sid, and stays.
func TestNodeOIDCLogoutThatBeginsThere(t *testing.T) {
	n := newNode(t)
	b, other := n.signIn(t, "ben"), n.signIn(t, "ben")
	b.visit(n.provider() + "/session/end")
	b.press("Yes, sign me out")
	b.reads(n.provider(), "Sign-out Success")
	n.eventually("the provider has told us", func() bool { return len(n.said(map[string]string{"backchannel": "success"})) == 1 })
	b.signedOut(n.Facts.App)
	if w := other.whoami(); w.Provider != oidcID {
		t.Errorf("the other browser is %+v", w)
	}
}

// By itself oidc-provider gives a refresh token only where it asked for consent at
// this very sign-in, which we never make it do (decision 026). People sign in all the
// same, and the operator is told.
func TestNodeOIDCGivesNoRefreshTokenByItself(t *testing.T) {
	n := newNode(t)
	n.signIn(t, "ben")
	n.logged("gives no refresh token", `"provider":"`+oidcID+`"`)
}

// Refresh tokens: the provider is asked again, and who is gone there is out here.
func TestNodeOIDCRecheck(t *testing.T) {
	n := newNode(t)
	n.set.AlwaysRefresh = true
	n.serve()
	ben, cleo := n.signIn(t, "ben"), n.signIn(t, "cleo")
	n.clock.Advance(recheck)
	n.eventually("both are confirmed", func() bool { return n.refreshes("ok") == 2 })
	if w := ben.whoami(); w.Provider != oidcID {
		t.Fatalf("confirmed, and yet %+v", w)
	}
	delete(n.set.People, "ben")
	n.save()
	n.clock.Advance(recheck)
	n.eventually("he is refused", func() bool { return n.refreshes("refused") == 1 })
	n.eventually("his session ends", func() bool { return ben.whoami().Provider == "" })
	ben.signedOut(n.Facts.App)
	if w := cleo.whoami(); w.Provider != oidcID {
		t.Errorf("she is %+v", w)
	}
}

func (n *node) refreshes(outcome string) int {
	n.t.Helper()
	metric := []byte(`token_refresh_total{outcome="` + outcome + `",provider="` + oidcID + `"} `)
	for line := range bytes.Lines(n.fetch(n.Facts.Private + "/metrics")) {
		if at := bytes.Index(line, metric); at >= 0 {
			count, _ := strconv.Atoi(string(bytes.TrimSpace(line[at+len(metric):])))
			return count
		}
	}
	return 0
}
