package gatetest

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/beevik/etree"
	"github.com/coder/websocket"

	"github.com/ssogate/ssogate/internal/demo"
	"github.com/ssogate/ssogate/internal/gatetest/cluster"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/sso/ssotest"
)

// crew is a cluster as a browser and an identity provider meet it, node by node.
type crew struct {
	*cluster.Cluster
	t *testing.T
}

func (c crew) as(t *testing.T) crew {
	t.Helper()
	return crew{c.Cluster, t}
}

// send makes one request by way of one node and follows nothing.
func (c crew) send(node int, v *demo.Visitor, method, u string, body io.Reader, header ...string) answer {
	c.t.Helper()
	req, err := http.NewRequestWithContext(c.t.Context(), method, u, body)
	if err != nil {
		c.t.Fatal(err)
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Add(header[i], header[i+1])
	}
	k := http.Client{
		Timeout: 20 * time.Second, Transport: c.Transport(node),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	if v != nil {
		k.Jar = v.Jar()
	}
	resp, err := k.Do(req)
	if err != nil {
		c.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		c.t.Fatal(err)
	}
	return answer{resp.StatusCode, resp.Header, string(b)}
}

// api is a script's request with a visitor's cookies, or with none.
func (c crew) api(node int, v *demo.Visitor) answer {
	c.t.Helper()
	return c.send(node, v, http.MethodGet, c.App+"/who", nil, "Accept", "application/json")
}

// show is a script's request with a cookie header that somebody kept.
func (c crew) show(node int, cookies string) answer {
	c.t.Helper()
	return c.send(node, nil, http.MethodGet, c.App+"/who", nil, "Accept", "application/json", "Cookie", cookies)
}

// everywhere demands one answer of every node.
func (c crew) everywhere(what, cookies string, want int) {
	c.t.Helper()
	for i := range c.Nodes {
		if a := c.show(i, cookies); a.Status != want {
			c.t.Errorf("%s: node %d answers %d, want %d", what, i+1, a.Status, want)
		}
	}
}

// nowhere demands that no node admits. unwoken is cut from Redis: it learns
// of a cut-off by itself, later than the others, and the answer has to wait for it.
// Who must be read there is told 503.
func (c crew) nowhere(what, cookies string, unwoken *cluster.Node) {
	c.t.Helper()
	for i, n := range c.Nodes {
		a := c.show(i, cookies)
		if a.Status != http.StatusUnauthorized && (n != unwoken || a.Status != http.StatusServiceUnavailable) {
			c.t.Errorf("%s: node %d answers %d", what, i+1, a.Status)
		}
	}
	unwoken.RestoreRedis()
	eventually(c.t, what+": the node that was cut from Redis says 401", func() bool {
		return c.show(unwoken.Index, cookies).Status == http.StatusUnauthorized
	})
}

// atIdP begins a sign-in by way of one node and answers where the identity
// provider is asked.
func (c crew) atIdP(node int, v *demo.Visitor) string {
	c.t.Helper()
	u := c.App + "/who"
	for range 4 {
		a := c.send(node, v, http.MethodGet, u, nil, "Accept", "text/html", "Sec-Fetch-Mode", "navigate")
		to := a.Header.Get("Location")
		if a.Status != http.StatusFound {
			c.t.Fatalf("%s: %d %s", u, a.Status, a.Body)
		}
		if strings.HasPrefix(to, c.IdP.SSOURL()) {
			return to
		}
		if u = to; strings.HasPrefix(u, c.Gateway+"/login?id=") {
			u += "&provider=acme" // as its page does by itself where there is only one
		}
	}
	c.t.Fatal("the identity provider is never reached")
	return ""
}

// responds makes the identity provider's answer.
func (c crew) responds(node int, v *demo.Visitor, p ssotest.Person, mutate ...func(*ssotest.SAMLDraft)) (acs string, form url.Values) {
	c.t.Helper()
	acs, resp, state, err := c.IdP.Respond(c.atIdP(node, v), p.User, mutate...)
	if err != nil {
		c.t.Fatal(err)
	}
	return acs, url.Values{"SAMLResponse": {resp}, "RelayState": {state}}
}

// post carries it to the ACS by way of one node.
func (c crew) post(node int, v *demo.Visitor, acs string, form url.Values) answer {
	c.t.Helper()
	return c.send(node, v, http.MethodPost, acs, strings.NewReader(form.Encode()), "Content-Type", "application/x-www-form-urlencoded",
		"Accept", "text/html", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Site", "cross-site", "Origin", "null")
}

// streams opens a WebSocket and an event stream on every node.
func (c crew) streams(cookies string) (out []*cluster.Stream) {
	c.t.Helper()
	for i := range c.Nodes {
		s, err := c.OpenStreams(i, cookies)
		if err != nil {
			c.t.Fatalf("node %d: %v", i+1, err)
		}
		out = append(out, s...)
	}
	c.t.Cleanup(func() {
		for _, s := range out {
			s.Close()
		}
	})
	return out
}

// dead demands that streams were dead before the answer that word was said
// after, and that their end arrives.
func (c crew) dead(word string, streams []*cluster.Stream) {
	c.t.Helper()
	for _, s := range streams {
		s.Tell(word)
	}
	c.Site.Say(word)
	for _, s := range streams {
		_, code, ok := s.Ended(20 * time.Second)
		if !ok {
			c.t.Errorf("node %d: the %s is still open", s.Node+1, s.Kind)
		}
		if s.Heard(word) {
			c.t.Errorf("node %d: the %s carried a word that was said after the answer", s.Node+1, s.Kind)
		}
		if s.Kind == "WebSocket" && code != websocket.StatusPolicyViolation {
			c.t.Errorf("node %d: the WebSocket was closed with %d, want 1008", s.Node+1, code)
		}
	}
}

// live demands that streams still carry what is said.
func (c crew) live(word string, streams []*cluster.Stream) {
	c.t.Helper()
	for _, s := range streams {
		s.Tell(word)
	}
	c.Site.Say(word)
	for _, s := range streams {
		eventually(c.t, fmt.Sprintf("node %d: a bystander's %s carries a word", s.Node+1, s.Kind), func() bool { return s.Heard(word) })
	}
}

// Rows of the catalogue that are about several nodes, on three real ones.
func TestRowsAcrossNodes(t *testing.T) {
	t.Parallel()
	all := crew{nodes(t, 3, cluster.Single), t}
	ana, ben := demo.People()[0], demo.People()[1]
	anaID := all.Create(ana)
	all.Create(ben)
	benStreams := all.streams(cluster.Cookies(all.MustSignIn(ben), all.App))

	t.Run("K01 a sign-in walks over three nodes, and ends in its own browser only", func(t *testing.T) { // also W2
		c := all.as(t)
		v, thief := c.Visitor(2), c.Visitor(2)
		acs, form := c.responds(0, v, ana)
		code := codeURL(t, c.Gateway, c.post(1, v, acs, form))
		if page, _ := finish(t, thief, code); c.api(0, thief).Status != http.StatusUnauthorized {
			t.Errorf("the code signed another browser in: %s", page.URL)
		}
		if page, _ := finish(t, v, code); page.Status != http.StatusOK {
			t.Fatalf("benign: %s %d", page.URL, page.Status)
		}
		c.everywhere("benign", cluster.Cookies(v, c.App), http.StatusOK)
	})
	t.Run("K05 logout on one node counts on all when it is answered", func(t *testing.T) {
		c := all.as(t)
		for i, origin := range []string{c.App + "/.sso", c.Gateway} {
			v, other := c.MustSignIn(ana), c.MustSignIn(ana)
			kept := cluster.Cookies(v, c.App)
			c.everywhere("benign", kept, http.StatusOK)
			streams := c.streams(kept)
			c.Nodes[2].CutRedis()
			u, err := url.Parse(origin)
			if err != nil {
				t.Fatal(err)
			}
			if a := c.send(i, v, http.MethodPost, origin+"/logout", nil, "Origin", u.Scheme+"://"+u.Host, "Sec-Fetch-Site", "same-origin"); a.Status != http.StatusOK {
				t.Fatalf("logout: %d %s", a.Status, a.Body)
			}
			c.nowhere("the cookie that somebody kept", kept, c.Nodes[2])
			c.dead(fmt.Sprint("after logout ", i), streams)
			c.everywhere("her other browser", cluster.Cookies(other, c.App), http.StatusOK)
		}
	})
	t.Run("K07 PUT, DELETE and a sign-in under way", func(t *testing.T) {
		c := all.as(t)
		deactivate := fmt.Sprintf(`{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":%q,"active":false}`, ana.User)
		for i, call := range []struct{ method, body string }{{http.MethodPut, deactivate}, {http.MethodDelete, ""}} {
			kept := cluster.Cookies(c.MustSignIn(ana), c.App)
			c.everywhere("benign", kept, http.StatusOK)
			streams := c.streams(kept)
			racer := c.Visitor(2)
			acs, form := c.responds(0, racer, ana)
			accepted := c.Visitor(1)
			acs2, form2 := c.responds(2, accepted, ana)
			code := codeURL(t, c.Gateway, c.post(0, accepted, acs2, form2)) // everything but the last step
			c.Nodes[2].CutRedis()
			if k := c.SCIM(i, call.method, "/Users/"+anaID, call.body); k.Status/100 != 2 {
				t.Fatalf("%s: %d %s", call.method, k.Status, k.Body)
			}
			c.nowhere(call.method, kept, c.Nodes[2])
			c.dead("after "+call.method, streams)
			// Who he is was proven; whether he may come in is asked at the last step.
			if a := c.post(2, racer, acs, form); strings.Contains(a.Body, "/complete?code=") {
				finish(t, racer, codeURL(t, c.Gateway, a))
			}
			finish(t, accepted, code)
			for n := range c.Nodes {
				for what, v := range map[string]*demo.Visitor{"the identity provider's answer after it": racer, "the last step after it": accepted} {
					if a := c.api(n, v); a.Status == http.StatusOK {
						t.Errorf("%s: %s was admitted on node %d", call.method, what, n+1)
					}
				}
			}
			if call.method == http.MethodPut {
				if k := c.SetActive(2, anaID, true); k.Status/100 != 2 {
					t.Fatalf("re-activate: %d %s", k.Status, k.Body)
				}
				c.everywhere("re-activated, with the old session", kept, http.StatusUnauthorized)
			}
		}
		anaID = c.Create(ana) // recreated under the same name: another person as far as sessions go
	})
	t.Run("S17 an assertion counts once, on whichever node", func(t *testing.T) {
		c := all.as(t)
		v := c.Visitor(0)
		acs, form := c.responds(0, v, ana)
		codeURL(t, c.Gateway, c.post(0, v, acs, form))
		for n := range c.Nodes {
			if a := c.post(n, v, acs, form); strings.Contains(a.Body, "/complete?code=") || a.Status/100 != 4 {
				t.Errorf("the same bytes on node %d: %d", n+1, a.Status)
			}
		}
		again := url.Values{"SAMLResponse": {rewrap(t, form.Get("SAMLResponse"))}, "RelayState": form["RelayState"]}
		if a := c.post(1, v, acs, again); strings.Contains(a.Body, "/complete?code=") || a.Status/100 != 4 {
			t.Errorf("re-wrapped, on node 2: %d", a.Status)
		}
		c.Redis.Flush()
		for n, f := range []url.Values{form, again, form} {
			if a := c.post(n, v, acs, f); strings.Contains(a.Body, "/complete?code=") || a.Status/100 != 4 {
				t.Errorf("after FLUSHALL on node %d: %d", n+1, a.Status)
			}
		}
	})
	t.Run("C01 a token revoked by a command is dead on every node", func(t *testing.T) {
		c := all.as(t)
		c.tokenIsDeadEverywhere()
	})
	// Nobody deactivated ben.
	all.live("still here", benStreams)
}

// rewrap gives a response another ID; the signature is the assertion's.
func rewrap(t *testing.T, response string) string {
	t.Helper()
	raw, err := base64.StdEncoding.DecodeString(response)
	if err != nil {
		t.Fatal(err)
	}
	doc := etree.NewDocument()
	if err := doc.ReadFromBytes(raw); err != nil {
		t.Fatal(err)
	}
	doc.Root().CreateAttr("ID", "_"+secret.NewToken())
	out, err := doc.WriteToBytes()
	if err != nil {
		t.Fatal(err)
	}
	return base64.StdEncoding.EncodeToString(out)
}

func (c crew) tokenIsDeadEverywhere() {
	c.t.Helper()
	var stderr bytes.Buffer
	create := c.Command("scim", "token", "create", "--name", "short-lived", "--config", c.Config())
	create.Stderr = &stderr
	stdout, err := create.Output()
	if err != nil {
		c.t.Fatalf("create: %v %s", err, stderr.String())
	}
	token := strings.TrimSpace(string(stdout))
	with := func(node int) int {
		return c.send(node, nil, http.MethodGet, c.Gateway+"/api/0/organizations/default/scim/v2/Users", nil, "Authorization", "Bearer "+token).Status
	}
	for n := range c.Nodes {
		if got := with(n); got != http.StatusOK {
			c.t.Fatalf("benign: node %d answers %d", n+1, got)
		}
	}
	list, err := c.Command("scim", "token", "list", "--config", c.Config()).Output()
	if err != nil {
		c.t.Fatal(err)
	}
	id := ""
	for line := range strings.Lines(string(list)) {
		if f := strings.Fields(line); len(f) > 1 && f[1] == "short-lived" {
			id = f[0]
		}
	}
	if out, err := c.Command("scim", "token", "revoke", id, "--config", c.Config()).CombinedOutput(); err != nil {
		c.t.Fatalf("revoke %q: %v %s", id, err, out)
	}
	for n := range c.Nodes {
		if got := with(n); got != http.StatusUnauthorized {
			c.t.Errorf("node %d answers %d to a revoked token", n+1, got)
		}
	}
}

// refusesToStart runs a node that must not, and answers what it says.
func refusesToStart(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err := <-done:
		var exit *exec.ExitError
		if !errors.As(err, &exit) || exit.ExitCode() != 1 {
			t.Errorf("ended with %v, want exit code 1", err)
		}
	case <-time.After(20 * time.Second):
		_ = cmd.Process.Kill()
		<-done
		t.Errorf("it started")
	}
	if strings.Contains(out.String(), "goroutine ") {
		t.Errorf("a stack trace is no message for an operator")
	}
	return out.String()
}

// Two directories of members on one Redis would read each other's sessions, and
// a member of one with the id of another would be let in.
func TestSecondDirectoryOnTheSameRedisRefusesToStart(t *testing.T) {
	t.Parallel()
	c := nodes(t, 1, cluster.Single)
	c.Create(demo.People()[0])
	cookies := cluster.Cookies(c.MustSignIn(demo.People()[0]), c.App)
	for what, database := range map[string]string{
		"another PostgreSQL database": c.Postgres.Database(t),
		"a SQLite file":               "sqlite:" + filepath.Join(t.TempDir(), "ssogate.db"),
	} {
		cmd := c.Command("serve", "--config", c.Config())
		cmd.Env = append(cmd.Env, "SSOGATE_DATABASE_URL="+database, "SSOGATE_LISTEN=127.0.0.1:"+freePort(t), "SSOGATE_PRIVATE_LISTEN=127.0.0.1:"+freePort(t))
		if out := refusesToStart(t, cmd); !strings.Contains(out, "this Redis keeps the sessions of another ssogate database") {
			t.Errorf("%s: does not say why: %s", what, out)
		}
	}
	// The benign twin: a second node of the same directory joins, and the first
	// never noticed any of this.
	c.StartNodes(1)
	for i := range c.Nodes {
		if a := (crew{c, t}).show(i, cookies); a.Status != http.StatusOK {
			t.Errorf("node %d: %d", i+1, a.Status)
		}
	}
}

// A PostgreSQL that may forget what it confirmed, and one that answers from the
// past, cannot keep the promise (C12).
func TestUnfitDatabaseIsRefusedAtStart(t *testing.T) {
	t.Parallel()
	bin, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	c := cluster.Install(t, cluster.Options{Binary: bin, Redis: cluster.Single})
	c.Postgres.Int(t, c.DatabaseURL, `ALTER ROLE ssogate SET synchronous_commit = off`)
	cmd := c.Command("serve", "--config", c.Config())
	cmd.Env = append(cmd.Env, "SSOGATE_LISTEN=127.0.0.1:"+freePort(t), "SSOGATE_PRIVATE_LISTEN=127.0.0.1:"+freePort(t))
	if out := refusesToStart(t, cmd); !strings.Contains(out, "synchronous_commit") {
		t.Errorf("does not say why: %s", out)
	}
	c.Postgres.Int(t, c.DatabaseURL, `ALTER ROLE ssogate RESET synchronous_commit`)
	c.StartNodes(2)
}
