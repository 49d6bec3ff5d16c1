package gatetest

import (
	"bufio"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/ssogate/ssogate/internal/demo"
	"github.com/ssogate/ssogate/internal/gatetest/cluster"
)

// machineApp says what it was told of who asks, and streams.
func machineApp(w http.ResponseWriter, r *http.Request) {
	if strings.HasSuffix(r.URL.Path, "/live") {
		w.Header().Set("Content-Type", "text/event-stream")
		_, _ = io.WriteString(w, "data: open\n\n")
		_ = http.NewResponseController(w).Flush()
		<-r.Context().Done()
		return
	}
	_ = json.NewEncoder(w).Encode(map[string]string{
		"user": r.Header.Get("X-Forwarded-User"), "groups": r.Header.Get("X-Forwarded-Groups"), "mail": r.Header.Get("X-Forwarded-Email"),
		"authorization": strings.Join(r.Header.Values("Authorization"), "|"),
	})
}

// editConfig changes the route that init wrote.
func editConfig(t *testing.T, path, upstream, lines string) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	route := regexp.MustCompile(`(?m)^    upstream: .*$`)
	if upstream == "" {
		upstream = route.FindString(string(b))
	}
	if err := os.WriteFile(path, []byte(route.ReplaceAllString(string(b), upstream+"\n"+lines)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// buildService is an issuer of JWTs that knows no sign-in.
type buildService struct {
	*httptest.Server
	key *ecdsa.PrivateKey
}

func newBuildService(t *testing.T) *buildService {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	b := &buildService{key: key}
	b.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/.well-known/openid-configuration":
			_ = json.NewEncoder(w).Encode(map[string]any{"issuer": b.URL, "jwks_uri": b.URL + "/keys"})
		case "/keys":
			_ = json.NewEncoder(w).Encode(jose.JSONWebKeySet{Keys: []jose.JSONWebKey{{Key: key.Public(), KeyID: "1", Use: "sig"}}})
		default:
			http.NotFound(w, r)
		}
	}))
	t.Cleanup(b.Close)
	return b
}

func (b *buildService) sign(t *testing.T, audience string, more map[string]any) string {
	t.Helper()
	s, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: b.key, KeyID: "1"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	c := map[string]any{"iss": b.URL, "aud": audience, "iat": time.Now().Unix(), "exp": time.Now().Add(10 * time.Minute).Unix(), "sub": "repo:example/deploy"}
	maps.Copy(c, more)
	payload, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	jws, err := s.Sign(payload)
	if err != nil {
		t.Fatal(err)
	}
	out, err := jws.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// bring sends one request with a bearer and answers what the application was told.
func (s *site) bring(path, bearer string, more ...string) (status int, told map[string]string, h http.Header) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.app+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	for i := 0; i+1 < len(more); i += 2 {
		req.Header.Add(more[i], more[i+1])
	}
	resp, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	if resp.StatusCode == http.StatusOK {
		if err := json.NewDecoder(resp.Body).Decode(&told); err != nil {
			s.t.Fatal(err)
		}
	}
	return resp.StatusCode, told, resp.Header
}

// machineID is the id of the token of a machine in the list.
func machineID(t *testing.T, list, name string) string {
	t.Helper()
	for line := range strings.Lines(list) {
		if f := strings.Fields(line); len(f) > 1 && f[1] == name {
			return f[0]
		}
	}
	t.Fatalf("no token of %s in\n%s", name, list)
	return ""
}

// stream opens the application's event stream and answers what ends it.
func (s *site) stream(bearer string) <-chan error {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.app+"/live", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+bearer)
	return opened(s.t, &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}, req)
}

func opened(t *testing.T, c *http.Client, req *http.Request) <-chan error {
	t.Helper()
	resp, err := c.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	br := bufio.NewReader(resp.Body)
	if line, err := br.ReadString('\n'); err != nil || resp.StatusCode != http.StatusOK || !strings.HasPrefix(line, "data: open") {
		t.Fatalf("stream: %d %q %v", resp.StatusCode, line, err)
	}
	ended := make(chan error, 1)
	go func() {
		defer func() { _ = resp.Body.Close() }()
		_, err := io.Copy(io.Discard, br)
		ended <- err
	}()
	return ended
}

func wantEnded(t *testing.T, what string, ended <-chan error) {
	t.Helper()
	select {
	case err := <-ended:
		if err == nil {
			t.Errorf("%s: the stream ended as if it were complete", what)
		}
	case <-time.After(20 * time.Second):
		t.Errorf("%s: the stream is still open", what)
	}
}

// Row C01 for machines, row H08 and G1: tokens made and revoked on the host count at
// once, on the routes that they name, and reach no application.
func TestMachineTokensOfTheCommandLine(t *testing.T) {
	s := install(t)
	upstream := httptest.NewServer(http.HandlerFunc(machineApp))
	t.Cleanup(upstream.Close)
	editConfig(t, s.config, `    upstream: "`+upstream.URL+`"`, `    machines:
      tokens: true
    access:
      - name: "operations"
        paths: ["/ops/*"]
        teams: ["ops"]
      - name: "owners"
        paths: ["/owners"]
        roles: ["owner"]
      - name: "rest"
  - name: "other"
    origins:
      - "`+s.app+`"
    path_prefix: "/other"
    upstream: "`+upstream.URL+`"
    machines:
      tokens: true
  - name: "people"
    origins:
      - "`+s.app+`"
    path_prefix: "/people"
    upstream: "`+upstream.URL+`"`)
	create := func(args ...string) string {
		t.Helper()
		stdout, stderr, code := s.runSplit(append([]string{"machine-token", "create", "--config", s.config}, args...)...)
		token := strings.TrimSpace(stdout)
		if code != 0 || !strings.HasPrefix(token, "ssogate_machine_") || strings.Contains(stderr, token) {
			t.Fatalf("create: %d %q %s", code, stdout, stderr)
		}
		return token
	}
	before := create("--name", "before", "--route", "app", "--team", "ops") // nothing runs
	p := s.serve()
	during := create("--name", "during", "--route", "app") // the process holds the database
	if status, told, _ := s.bring("/ops/x", before); status != 200 || told["user"] != "machine:before" || told["groups"] != "ops" || told["authorization"] != "" {
		t.Errorf("%d %v", status, told)
	}
	if status, told, _ := s.bring("/x", during); status != 200 || told["user"] != "machine:during" || told["mail"] != "" || told["authorization"] != "" {
		t.Errorf("%d %v", status, told)
	}
	for _, c := range []struct {
		path, token string
		want        int
	}{
		{"/ops/x", during, 403},
		{"/owners", before, 403},
		{"/other/x", before, 401},
		{"/people/x", before, 401},
		{"/x", during + "x", 401},
		{"/x", during[:len(during)-1], 401},
		{"/x", s.token, 401},
		{"/x?access_token=" + during, "", 401},
	} {
		if status, _, h := s.bring(c.path, c.token, "Accept", "text/html", "Sec-Fetch-Mode", "cors"); status != c.want || h.Get("Location") != "" {
			t.Errorf("%s: %d to %q, want %d", c.path, status, h.Get("Location"), c.want)
		}
	}
	// A person's session beside a token that is not good: nobody.
	s.create("/Users", userBody(demo.People()[0].User, "Ana"))
	cookies := cookieHeader(t, s.signIn(demo.People()[0]), s.app)
	if status, told, _ := s.bring("/x", "", "Cookie", cookies); status != 200 || strings.HasPrefix(told["user"], "machine:") {
		t.Errorf("the person: %d %v", status, told)
	}
	if status, told, _ := s.bring("/x", during, "Cookie", cookies); status != 200 || told["user"] != "machine:during" || told["mail"] != "" {
		t.Errorf("both: %d %v", status, told)
	}
	if status, _, _ := s.bring("/x", during+"x", "Cookie", cookies); status != 401 {
		t.Errorf("a bad token beside a session: %d", status)
	}
	if status, told, _ := s.bring("/people/x", during, "Cookie", cookies); status != 200 || told["authorization"] != "" {
		t.Errorf("H08 a token on a route that does not take it: %d %v", status, told)
	}

	list, _, _ := s.runSplit("machine-token", "list", "--config", s.config)
	if strings.Contains(list, "ssogate_machine_") {
		t.Error("the list shows a token")
	}
	ended := s.stream(during)
	if out, code := s.run("machine-token", "revoke", machineID(t, list, "during"), "--config", s.config); code != 0 {
		t.Fatalf("revoke: %d %s", code, out)
	}
	if status, _, _ := s.bring("/x", during); status != 401 {
		t.Errorf("revoked: %d", status)
	}
	wantEnded(t, "revoked", ended)
	if status, _, _ := s.bring("/x", before); status != 200 {
		t.Errorf("the other token: %d", status)
	}
	if out, code := s.run("machine-token", "revoke", machineID(t, list, "during"), "--config", s.config); code != 0 {
		t.Errorf("C2 again, as after an answer that was lost: %d %s", code, out)
	}
	s.end(p, syscall.SIGTERM)
	list, _, _ = s.runSplit("machine-token", "list", "--config", s.config)
	if strings.Contains(list, "during") || strings.Contains(list, "never  never") || !strings.Contains(list, "127.0.0.1") {
		t.Errorf("who used what when is in the list:\n%s", list)
	}
	for what, token := range map[string]string{"before": before, "during": during} {
		if strings.Contains(s.log.String(), token) {
			t.Errorf("L01: token %s is in the log", what)
		}
	}
}

// JWTs of a configured issuer, and that a reload takes them away again.
func TestMachinesOfAnIssuer(t *testing.T) {
	s := install(t)
	upstream := httptest.NewServer(http.HandlerFunc(machineApp))
	t.Cleanup(upstream.Close)
	ci := newBuildService(t)
	editConfig(t, s.config, `    upstream: "`+upstream.URL+`"`, `    machines:
      issuers: ["ci"]
    access:
      - name: "finance"
        paths: ["/finance/*"]
        teams: ["finance"]
      - name: "named"
        paths: ["/named", "/live"]
        machines: ["ci/repo:example/deploy"]
      - name: "rest"
  - name: "handed"
    origins:
      - "`+s.app+`"
    path_prefix: "/handed"
    upstream: "`+upstream.URL+`"
    authorization: "pass"
    machines:
      issuers: ["ci"]
    teams: ["finance"]`)
	issuer := `
machine_issuers:
  - name: "ci"
    issuer: "` + ci.URL + `"
    audience: "https://gate.example.com"
    teams_claim: "repository"
    teams:
      - value: "example/deploy"
        team: "finance"
outbound:
  allow: ["` + strings.TrimPrefix(ci.URL, "http://") + `"]
`
	s.addConfig(issuer)
	p := s.serve()
	good := ci.sign(t, "https://gate.example.com", map[string]any{"repository": "example/deploy"})
	bare := ci.sign(t, "https://gate.example.com", nil)
	for range 2 { // verified, then remembered
		if status, told, _ := s.bring("/finance/x", good); status != 200 || told["user"] != "machine:ci/repo:example/deploy" || told["groups"] != "finance" || told["authorization"] != "" {
			t.Errorf("%d %v", status, told)
		}
	}
	if status, told, _ := s.bring("/handed/x", good); status != 200 || told["authorization"] != "Bearer "+good {
		t.Errorf("passed on because the route says so: %d %v", status, told)
	}
	for _, c := range []struct {
		path, token, what string
		want              int
	}{
		{"/named", bare, "by name", 200},
		{"/finance/x", bare, "without the team", 403},
		{"/x", good, "where nothing names it", 403},
		{"/finance/x", ci.sign(t, "https://other.example.com", map[string]any{"repository": "example/deploy"}), "for somebody else", 401},
		{"/finance/x", ci.sign(t, "https://gate.example.com", map[string]any{"exp": time.Now().Add(-time.Minute).Unix()}), "expired", 401},
		{"/finance/x", newBuildService(t).sign(t, "https://gate.example.com", map[string]any{"repository": "example/deploy"}), "of a stranger", 401},
		{"/finance/x", newBuildService(t).sign(t, "https://gate.example.com", map[string]any{"iss": ci.URL, "repository": "example/deploy"}), "signed by a stranger", 401},
	} {
		if status, _, _ := s.bring(c.path, c.token); status != c.want {
			t.Errorf("%s %s: %d, want %d", c.path, c.what, status, c.want)
		}
	}
	ended := s.stream(bare)
	b, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	gone := strings.ReplaceAll(string(b), `    audience: "https://gate.example.com"`, `    audience: "https://new.example.com"`)
	if err := os.WriteFile(s.config, []byte(gone), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := p.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	wantEnded(t, "the issuer is another one now", ended)
	if status, _, _ := s.bring("/finance/x", good); status != 401 {
		t.Errorf("verified before the reload: %d", status)
	}
	if strings.Contains(s.log.String(), good) || strings.Contains(s.log.String(), bare) {
		t.Error("L01: a JWT is in the log")
	}
}

// Guarantee G1, row C01: after the command has answered no node admits the token, also
// the one whose wake-up was cut, and nothing goes on with it.
func TestGuaranteeRevokedMachineTokenOnEveryNode(t *testing.T) {
	t.Parallel()
	bin, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	base := cluster.Install(t, cluster.Options{Binary: bin, Redis: cluster.Single})
	editConfig(t, base.Config(), "", "    machines:\n      tokens: true")
	base.StartNodes(3)
	c := crew{base, t}
	create := func() string {
		t.Helper()
		out, err := c.Command("machine-token", "create", "--name", "deploy", "--route", "app", "--config", c.Config()).Output()
		if err != nil {
			t.Fatalf("create: %v", err)
		}
		return strings.TrimSpace(string(out))
	}
	with := func(node int, token string) int {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.App+"/who", nil)
		if err != nil {
			t.Error(err)
			return 0
		}
		req.Header.Set("Authorization", "Bearer "+token)
		resp, err := (&http.Client{Transport: c.Transport(node), Timeout: 20 * time.Second}).Do(req)
		if err != nil {
			return 0 // cut while it ran
		}
		_ = resp.Body.Close()
		return resp.StatusCode
	}
	other := create()
	for round := range 5 {
		token := create()
		id := ""
		list, err := c.Command("machine-token", "list", "--config", c.Config()).Output()
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(list)) { // the newest comes last
			if f := strings.Fields(line); len(f) > 1 && f[1] == "deploy" {
				id = f[0]
			}
		}
		var ended []<-chan error
		for n := range c.Nodes {
			for range 3 { // read, then held
				if got := with(n, token); got != http.StatusOK {
					t.Fatalf("benign: node %d answers %d", n+1, got)
				}
			}
			req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.App+"/events", nil)
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("Authorization", "Bearer "+token)
			ended = append(ended, opened(t, &http.Client{Transport: c.Transport(n)}, req))
		}
		c.Nodes[round%3].CutRedis()
		var revoked atomic.Int64 // when, by one clock
		var late atomic.Int64
		stop := make(chan struct{})
		var wg sync.WaitGroup
		begin := time.Now()
		for n := range c.Nodes {
			wg.Go(func() {
				for {
					select {
					case <-stop:
						return
					default:
					}
					started := time.Since(begin).Nanoseconds()
					status := with(n, token)
					if at := revoked.Load(); at != 0 && started > at {
						if status != http.StatusUnauthorized {
							t.Errorf("round %d: node %d answers %d to a request that began after the revocation", round, n+1, status)
						}
						late.Add(1)
					}
				}
			})
		}
		out, err := c.Command("machine-token", "revoke", id, "--config", c.Config()).CombinedOutput()
		revoked.Store(time.Since(begin).Nanoseconds())
		if err != nil {
			t.Errorf("revoke %q: %v %s", id, err, out)
		}
		for n := range c.Nodes {
			if got := with(n, token); got != http.StatusUnauthorized {
				t.Errorf("round %d: node %d answers %d to a revoked token", round, n+1, got)
			}
			if got := with(n, other); got != http.StatusOK {
				t.Errorf("round %d: node %d answers %d to the machine's other token", round, n+1, got)
			}
		}
		eventually(t, "requests after the revocation", func() bool { return late.Load() >= 9 })
		close(stop)
		wg.Wait()
		for n, e := range ended {
			wantEnded(t, fmt.Sprintf("round %d, node %d", round, n+1), e)
		}
		c.Nodes[round%3].RestoreRedis()
	}
}
