package gatetest

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ssogate/ssogate/internal/demo"
	"github.com/ssogate/ssogate/internal/gatetest/cluster"
	"github.com/ssogate/ssogate/sso/ssotest"
)

// run is a command on the host, which must succeed.
func (c crew) run(args ...string) string {
	c.t.Helper()
	out, err := c.Command(append(args, "--config", c.Config())...).CombinedOutput()
	if err != nil {
		c.t.Fatalf("ssogate %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}

// C11: what a command publishes, switches off and on is true on every node by the time
// that it has answered, without a restart.
func TestAProviderIsPublishedOnEveryNode(t *testing.T) {
	t.Parallel()
	hub := &ssotest.GitHub{ClientID: "Ov23li0123456789", ClientSecret: "d6b1f0f6a7e94c0e8f3a"}
	hub.Set(ssotest.GitHubUser{
		ID: 100, Login: "octo-ana", Emails: []ssotest.GitHubEmail{{Email: "octo-ana@hub.example", Primary: true, Verified: true}},
		Orgs: map[string]string{"harbour": "active"},
	})
	srv := httptest.NewServer(hub)
	t.Cleanup(srv.Close)
	bin, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	c := crew{cluster.Start(t, cluster.Options{
		Binary: bin, Nodes: 2, Redis: cluster.Single,
		Config: fmt.Sprintf("outbound:\n  allow: [%q]\n", strings.TrimPrefix(srv.URL, "http://")),
	}), t}
	hub.RedirectURI = c.Gateway + "/oauth/hub/callback"
	draft := func(organization string) string {
		t.Helper()
		file := filepath.Join(t.TempDir(), "hub.yaml")
		text := fmt.Sprintf("providers:\n  - id: hub\n    name: Harbour GitHub\n    preset: github\n    base_url: %q\n    client_id: %q\n    client_secret: %q\n    organizations: [%q]\n    join: idp\n",
			srv.URL, hub.ClientID, hub.ClientSecret, organization)
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	signIn := func(node int) (*demo.Visitor, error) {
		hub.Choose(100)
		v := c.Visitor(node)
		_, err := v.SignIn(t.Context(), c.App+"/who", "GitHub", ssotest.Person{})
		return v, err
	}
	all := func(what string, in bool) (out []*demo.Visitor) {
		t.Helper()
		for n := range c.Nodes {
			v, err := signIn(n)
			if (err == nil) != in {
				t.Errorf("%s: node %d: %v", what, n+1, err)
			}
			out = append(out, v)
		}
		return out
	}
	all("not there yet", false)
	c.run("provider", "save", "--file", draft("harbour"))
	all("a draft", false)
	c.run("provider", "publish", "1")
	people := all("published", true)
	var streams []*cluster.Stream
	for n, v := range people {
		kept := cluster.Cookies(v, c.App)
		c.everywhere(fmt.Sprintf("who signed in on node %d", n+1), kept, http.StatusOK)
		streams = append(streams, c.streams(kept)...)
	}

	// Changed: who signs in from now on is asked for another organisation.
	c.run("provider", "save", "--file", draft("lighthouse"))
	c.run("provider", "publish", "2")
	all("changed", false)
	c.live("a change of who may sign in ends nobody", streams)

	c.Nodes[1].CutRedis() // it finds the row at its next poll, and the answer waits for that
	c.run("provider", "disable", "hub")
	for n, v := range people {
		c.nowhere(fmt.Sprintf("switched off, signed in on node %d", n+1), cluster.Cookies(v, c.App), c.Nodes[1])
	}
	c.dead("switched off", streams)

	c.run("settings", "restore", "1")
	c.run("provider", "publish", "4")
	for n, v := range people {
		c.everywhere(fmt.Sprintf("on again, signed in on node %d before", n+1), cluster.Cookies(v, c.App), http.StatusUnauthorized)
	}
	all("on again", true)
	if out := c.run("settings", "show"); strings.Contains(out, hub.ClientSecret) || !strings.Contains(out, "harbour") {
		t.Errorf("%s", out)
	}
	for n := range c.Nodes {
		if strings.Contains(c.Nodes[n].Log(1<<20), hub.ClientSecret) {
			t.Errorf("L01: the client secret is in the log of node %d", n+1)
		}
	}
}
