package gatetest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/ssogate/ssogate/internal/demo"
	"github.com/ssogate/ssogate/internal/gatetest/cluster"
	"github.com/ssogate/ssogate/internal/secret"
	"github.com/ssogate/ssogate/sso/ssotest"
	"github.com/ssogate/ssogate/store/sql"
)

// The tests of this file run the program itself, as a service manager does.

var buildDir string // set by TestMain, removed by it

func TestMain(m *testing.M) {
	var err error
	if buildDir, err = os.MkdirTemp("", "ssogate-gatetest-"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	_ = os.RemoveAll(buildDir)
	os.Exit(code)
}

// buildOnce makes the program as it ships, static, once per test binary.
var buildOnce = sync.OnceValues(func() (string, error) { return cluster.Build(buildDir) })

// site is an installation: a directory with config and database, and around it
// an identity provider and an application that outlive the process.
type site struct {
	t                     *testing.T
	bin, dir, config      string
	app, gateway, private string // origins
	database              string
	token                 string
	idp                   *ssotest.SAMLIdP
	log                   *logBuffer
}

// install runs `ssogate init` and declares what an operator would: one provider
// and its SCIM connection.
func install(t *testing.T) *site {
	t.Helper()
	bin, err := buildOnce()
	if err != nil {
		t.Fatal(err)
	}
	s := &site{t: t, bin: bin, dir: t.TempDir(), token: "ssogate_scim_" + secret.NewToken(), log: &logBuffer{}}
	s.config, s.database = filepath.Join(s.dir, "ssogate.yaml"), filepath.Join(s.dir, "ssogate.db")
	upstream := httptest.NewServer(demo.App())
	t.Cleanup(upstream.Close)
	idp := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.idp.ServeHTTP(w, r) }))
	t.Cleanup(idp.Close)
	if s.idp, err = ssotest.NewSAMLIdP(ssotest.SAMLOptions{BaseURL: idp.URL, People: demo.People()}); err != nil {
		t.Fatal(err)
	}
	port := freePort(t)
	// Two hosts on one listener, as behind a TLS front.
	s.gateway, s.app, s.private = "http://localhost:"+port, "http://127.0.0.1:"+port, "http://127.0.0.1:"+freePort(t)
	if out, code := s.run("init", "--url", s.gateway, "--app", s.app, "--upstream", upstream.URL, "--out", s.config); code != 0 {
		t.Fatalf("init: %d %s", code, out)
	}
	metadata, err := s.idp.Metadata()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(s.dir, "idp.xml"), metadata, 0o600); err != nil {
		t.Fatal(err)
	}
	s.addConfig(`
private_listen: "` + strings.TrimPrefix(s.private, "http://") + `"
providers:
  - id: "acme"
    protocol: "saml"
    metadata_file: "idp.xml"
    join: "scim"
scim:
  activation: "first_sign_in"
  connections:
    - provider: "acme"
      tokens:
        - name: "boot"
          token: "` + s.token + `"
`)
	return s
}

func (s *site) addConfig(text string) {
	s.t.Helper()
	f, err := os.OpenFile(s.config, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	_, err = f.WriteString(text)
	if err = errors.Join(err, f.Close()); err != nil {
		s.t.Fatal(err)
	}
}

// run runs a command to its end and answers standard output and error together.
func (s *site) run(args ...string) (out string, code int) {
	s.t.Helper()
	stdout, stderr, code := s.runSplit(args...)
	return stdout + stderr, code
}

func (s *site) runSplit(args ...string) (stdout, stderr string, code int) {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(s.t.Context(), 30*time.Second)
	defer cancel()
	var o, e bytes.Buffer
	cmd := exec.CommandContext(ctx, s.bin, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = s.dir, &o, &e
	if err := cmd.Run(); err != nil && cmd.ProcessState == nil {
		s.t.Fatal(err)
	}
	return o.String(), e.String(), cmd.ProcessState.ExitCode()
}

// process is a running `ssogate serve`.
type process struct {
	*exec.Cmd
	done chan error
}

// serve starts the gateway and waits until it says that it is ready.
func (s *site) serve() *process {
	s.t.Helper()
	p := &process{Cmd: exec.Command(s.bin, "serve", "--config", s.config), done: make(chan error, 1)}
	p.Dir, p.Stderr, p.Stdout = s.dir, s.log, s.log
	if err := p.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() { p.done <- p.Wait() }()
	s.t.Cleanup(func() {
		_ = p.Process.Kill() // nothing to do when it has ended
		if s.t.Failed() {
			s.t.Logf("log:\n%s", s.log.tail(4000))
		}
	})
	eventually(s.t, "ready", func() bool {
		select {
		case err := <-p.done:
			s.t.Fatalf("ended instead of starting: %v\n%s", err, s.log.tail(4000))
		default:
		}
		resp, err := http.Get(s.private + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	// As an administrator pastes Entity ID and ACS URL.
	resp, err := http.Get(s.gateway + "/saml/acme/metadata")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	xml, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	if err := s.idp.RegisterMetadata(xml); err != nil {
		s.t.Fatal(err)
	}
	return p
}

// end sends a signal and answers exit code and time.
func (s *site) end(p *process, sig os.Signal) (code int, took time.Duration) {
	s.t.Helper()
	begin := time.Now()
	if err := p.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
	select {
	case <-p.done:
		return p.ProcessState.ExitCode(), time.Since(begin)
	case <-time.After(35 * time.Second):
		s.t.Fatal("still running 35 s after the signal")
		return 0, 0
	}
}

// call is one SCIM call. A broken connection is status 0.
func (s *site) call(token, method, path, body string) (status int, answer string) {
	s.t.Helper()
	req, err := http.NewRequest(method, s.gateway+"/api/0/organizations/default/scim/v2"+path, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+token)
	req.Header.Set("Content-Type", "application/scim+json")
	resp, err := (&http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		return 0, err.Error()
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return 0, err.Error() // cut in the middle: nothing was promised
	}
	return resp.StatusCode, string(b)
}

func (s *site) create(path, body string) (id string) {
	s.t.Helper()
	status, answer := s.call(s.token, http.MethodPost, path, body)
	var made struct{ ID string }
	if err := json.Unmarshal([]byte(answer), &made); status != http.StatusCreated || err != nil {
		s.t.Fatalf("create %s: %d %s", path, status, answer)
	}
	return made.ID
}

func userBody(name, label string) string {
	return fmt.Sprintf(`{"schemas":["urn:ietf:params:scim:schemas:core:2.0:User"],"userName":%q,"displayName":%q,"externalId":%q,"title":%q,"active":true}`, name, label, label, label)
}

func (s *site) signIn(p ssotest.Person) *demo.Visitor {
	s.t.Helper()
	v := demo.NewVisitor()
	if _, err := v.SignIn(s.t.Context(), s.app+"/", "acme", p); err != nil {
		s.t.Fatal(err)
	}
	return v
}

// status is what a script of the application is answered.
func (s *site) status(v *demo.Visitor) int {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.app+"/", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Accept", "application/json")
	resp, err := (&http.Client{Jar: v.Jar(), Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	if err != nil {
		s.t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// Fault 19: a signal ends it in order, and the people stay signed in.
func TestSignalEndsTheProcessCleanlyAndSessionsSurvive(t *testing.T) {
	s := install(t)
	ana := demo.People()[0]
	var v *demo.Visitor
	for _, sig := range []os.Signal{syscall.SIGTERM, syscall.SIGINT} {
		t.Run(sig.String(), func(t *testing.T) {
			s.t = t
			p := s.serve()
			if v == nil {
				s.create("/Users", userBody(ana.User, "Ana"))
				v = s.signIn(ana)
			}
			if got := s.status(v); got != http.StatusOK {
				t.Fatalf("with her cookie: %d", got)
			}
			ws, _, err := websocket.Dial(t.Context(), strings.Replace(s.app, "http", "ws", 1)+"/ws", &websocket.DialOptions{
				HTTPHeader: http.Header{"Cookie": {cookieHeader(t, v, s.app)}, "Origin": {s.app}},
			})
			if err != nil {
				t.Fatal(err)
			}
			defer ws.CloseNow()
			closed := make(chan error, 1)
			go func() { closed <- closedWith(ws, websocket.StatusGoingAway) }()
			code, took := s.end(p, sig)
			if code != 0 || took > 30*time.Second {
				t.Errorf("exit code %d after %v", code, took)
			}
			if err := <-closed; err != nil {
				t.Errorf("WebSocket: %v", err)
			}
			if _, err := net.DialTimeout("tcp", strings.TrimPrefix(s.app, "http://"), time.Second); err == nil {
				t.Error("something still listens")
			}
			if _, err := os.Stat(s.database + ".sock"); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the control socket is left behind: %v", err)
			}
		})
	}
	s.t = t
	s.serve()
	if got := s.status(v); got != http.StatusOK {
		t.Errorf("the same cookie after two restarts: %d", got)
	}
}

// Fault 20: a config with faults never starts, not even for a moment.
func TestBrokenConfigNeverListens(t *testing.T) {
	s := install(t)
	good, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	addr := strings.TrimPrefix(s.app, "http://")
	for _, tt := range []struct {
		name, add string
		env       []string
		want      []string // every fault, not the first
	}{
		{"two faults in the file", "session:\n  idle: 90\nlimits:\n  pending_sign_inz: 7\n", nil, []string{"session.idle", "limits.pending_sign_inz"}},
		{"three faults from the environment", "", []string{"SSOGATE_TRUSTED_PROXIES=0.0.0.0/0", "SSOGATE_SECRETS_COOKIE_KEY=c2hvcnQ=", "SSOGATE_ROUTES_0_ORIGINS=" + s.gateway}, []string{"trusted_proxies", "secrets.cookie_key", "routes[0].origins"}},
		{"no YAML at all", "\n\t{", nil, []string{"ssogate.yaml"}},
		{"metadata that is none", "", []string{"SSOGATE_PROVIDERS_0_METADATA_FILE=ssogate.yaml"}, []string{"acme"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			if err := os.WriteFile(s.config, append(append([]byte{}, good...), tt.add...), 0o600); err != nil {
				t.Fatal(err)
			}
			var out bytes.Buffer
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			cmd := exec.CommandContext(ctx, s.bin, "serve", "--config", s.config)
			cmd.Dir, cmd.Stderr, cmd.Stdout, cmd.Env = s.dir, &out, &out, append(os.Environ(), tt.env...)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			done := make(chan error, 1)
			go func() { done <- cmd.Wait() }()
			for running := true; running; {
				if c, err := net.DialTimeout("tcp", addr, time.Second); err == nil {
					_ = c.Close()
					t.Fatal("it listens")
				}
				select {
				case <-done:
					running = false
				case <-time.After(time.Millisecond):
				}
			}
			if code := cmd.ProcessState.ExitCode(); code != 1 {
				t.Errorf("exit code %d", code)
			}
			for _, want := range tt.want {
				if !strings.Contains(out.String(), want) {
					t.Errorf("does not name %s:\n%s", want, out.String())
				}
			}
			if strings.Contains(out.String(), "goroutine ") {
				t.Errorf("a stack trace is no message for an operator:\n%s", out.String())
			}
		})
	}
	// The benign twin: the same file without the faults.
	if err := os.WriteFile(s.config, good, 0o600); err != nil {
		t.Fatal(err)
	}
	s.serve()
}

// Row C01: tokens made and revoked on the host count at once.
func TestTokenCommandsReachTheRunningProcess(t *testing.T) {
	s := install(t)
	create := func(name string) string {
		t.Helper()
		stdout, stderr, code := s.runSplit("scim", "token", "create", "--name", name, "--config", s.config)
		token := strings.TrimSpace(stdout)
		if code != 0 || len(token) < 32 || strings.ContainsAny(token, " \n") {
			t.Fatalf("create: %d %q %s", code, stdout, stderr)
		}
		if strings.Contains(stderr, token) {
			t.Error("the token is on standard error too, where logs go")
		}
		return token
	}
	before := create("before") // nothing runs
	p := s.serve()
	fi, err := os.Stat(s.database + ".sock")
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Fatalf("control socket: %v %v", fi, err)
	}
	during := create("during") // the process holds the database
	for name, token := range map[string]string{"boot": s.token, "before": before, "during": during} {
		if got, body := s.call(token, http.MethodGet, "/Users", ""); got != http.StatusOK {
			t.Errorf("token %s: %d %s", name, got, body)
		}
	}
	list, _, code := s.runSplit("scim", "token", "list", "--config", s.config)
	if code != 0 || !strings.Contains(list, "before") || !strings.Contains(list, "during") {
		t.Fatalf("list: %d %s", code, list)
	}
	if strings.Contains(list, before) || strings.Contains(list, during) {
		t.Error("the list shows a token")
	}
	var id string
	for line := range strings.Lines(list) {
		if f := strings.Fields(line); len(f) > 1 && f[1] == "during" {
			id = f[0]
		}
	}
	if out, code := s.run("scim", "token", "revoke", id, "--config", s.config); code != 0 {
		t.Fatalf("revoke %q: %d %s", id, code, out)
	}
	if got, body := s.call(during, http.MethodGet, "/Users", ""); got != http.StatusUnauthorized {
		t.Errorf("revoked token: %d %s", got, body)
	}
	if got, _ := s.call(before, http.MethodGet, "/Users", ""); got != http.StatusOK {
		t.Errorf("the other token after the revocation: %d", got)
	}
	if out, code := s.run("scim", "token", "revoke", "no-such-token", "--config", s.config); code != 1 || strings.Contains(out, "goroutine ") {
		t.Errorf("revoke of what is not there: %d %s", code, out)
	}
	log := s.log.String()
	for name, token := range map[string]string{"boot": s.token, "before": before, "during": during} {
		if strings.Contains(log, token) {
			t.Errorf("L01: token %s is in the log", name)
		}
	}
	s.end(p, syscall.SIGTERM)
}

// Two processes on one SQLite file would each believe in their own registry of
// nodes: a cut-off by one would be unknown to the other.
func TestSecondProcessOnTheSameDatabaseRefusesToStart(t *testing.T) {
	s := install(t)
	s.serve()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	var out bytes.Buffer
	second := exec.CommandContext(ctx, s.bin, "serve", "--config", s.config)
	second.Dir, second.Stderr, second.Stdout = s.dir, &out, &out
	second.Env = append(os.Environ(), "SSOGATE_LISTEN=127.0.0.1:"+freePort(t), "SSOGATE_PRIVATE_LISTEN=127.0.0.1:"+freePort(t))
	err := second.Run()
	if second.ProcessState == nil {
		t.Fatal(err)
	}
	if code := second.ProcessState.ExitCode(); code != 1 {
		t.Errorf("exit code %d", code)
	}
	if msg := out.String(); !strings.Contains(msg, "ssogate.db") || !strings.Contains(msg, "another") {
		t.Errorf("does not say that another process uses the database:\n%s", msg)
	}
	if got, body := s.call(s.token, http.MethodGet, "/Users", ""); got != http.StatusOK {
		t.Errorf("the first one after that: %d %s", got, body)
	}
}

// writer changes one user again and again and remembers what was promised.
type writer struct {
	id, name    string
	acked, sent int
}

func (w *writer) write(s *site, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		default:
		}
		w.sent = w.acked + 1
		status, _ := s.call(s.token, http.MethodPut, "/Users/"+w.id, userBody(w.name, fmt.Sprint("v", w.sent)))
		if status != http.StatusOK {
			return // killed
		}
		w.acked = w.sent
	}
}

// Fault 17: kill -9 in the middle of SCIM writes leaves the old or the new,
// whole, and an audit chain that verifies.
var (
	killRounds = flag.Int("kill.rounds", 10, "how often the process is killed")
	killOut    = flag.String("kill.out", "", "write the report there")
)

// killReport writes what `make kill` found.
func killReport(t *testing.T, writes, joins int) {
	t.Helper()
	t.Logf("%d kills: %d changes of users and %d joins acknowledged, none lost", *killRounds, writes, joins)
	if *killOut == "" || t.Failed() {
		return
	}
	text := fmt.Sprintf(`# Killed in the middle

What `+"`make kill`"+` found last: the real binary on SQLite, with four clients that provision over SCIM, killed with
SIGKILL at a moment of chance and started again, %d times. After each start every change that had been answered with success was
there (%d changes of users, %d members created and added to a group), every other one was there whole or not at all,
the audit chain was unbroken, and a session from before still held. PostgreSQL and concurrent writers below the HTTP
layer: `+"`TestGuaranteeNothingHalfAfterKill9`"+` in store/sql.
`, *killRounds, writes, joins)
	if err := os.WriteFile(*killOut, []byte(text), 0o644); err != nil { //nolint:gosec // a document
		t.Fatal(err)
	}
}

func TestGuaranteeNothingLostKillDashNine(t *testing.T) {
	s := install(t)
	p := s.serve()
	group := s.create("/Groups", `{"schemas":["urn:ietf:params:scim:schemas:core:2.0:Group"],"displayName":"Crowd"}`)
	writers := make([]*writer, 3)
	for i := range writers {
		name := fmt.Sprintf("writer-%d@example.com", i)
		writers[i] = &writer{id: s.create("/Users", userBody(name, "v0")), name: name}
	}
	ana := demo.People()[0]
	anaID := s.create("/Users", userBody(ana.User, "Ana"))
	v := s.signIn(ana)
	var joined []string // group members whose PATCH was answered with success
	for round := range *killRounds {
		stop := make(chan struct{})
		var wg sync.WaitGroup
		for _, w := range writers {
			wg.Go(func() { w.write(s, stop) })
		}
		wg.Go(func() {
			for n := 0; ; n++ {
				status, answer := s.call(s.token, http.MethodPost, "/Users", userBody(fmt.Sprintf("joiner-%d-%d@example.com", round, n), "x"))
				var made struct{ ID string }
				if status != http.StatusCreated || json.Unmarshal([]byte(answer), &made) != nil {
					return
				}
				body := fmt.Sprintf(`{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"add","path":"members","value":[{"value":%q}]}]}`, made.ID)
				if status, _ := s.call(s.token, http.MethodPatch, "/Groups/"+group, body); status/100 != 2 {
					return
				}
				joined = append(joined, made.ID)
			}
		})
		time.Sleep(time.Duration(40+17*(round%12)) * time.Millisecond) // where it hits is chance on purpose
		if err := p.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		<-p.done
		close(stop)
		wg.Wait()
		verifyChain(t, s.database)
		p = s.serve()
		for _, w := range writers {
			w.check(s)
		}
		_, answer := s.call(s.token, http.MethodGet, "/Groups/"+group, "")
		for _, id := range joined {
			if !strings.Contains(answer, id) {
				t.Fatalf("round %d: member %s was acknowledged and is lost", round, id)
			}
		}
		if got := s.status(v); got != http.StatusOK {
			t.Fatalf("round %d: a session from before: %d", round, got)
		}
	}
	total := 0
	for _, w := range writers {
		total += w.acked
	}
	if total < 20 || len(joined) < 5 {
		t.Fatalf("only %d writes and %d joins were acknowledged: this shows nothing", total, len(joined))
	}
	killReport(t, total, len(joined))
	// A deactivation answered just before the power goes is not forgotten.
	if status, answer := s.call(s.token, http.MethodPatch, "/Users/"+anaID, activeBody(false)); status/100 != 2 {
		t.Fatalf("deactivate: %d %s", status, answer)
	}
	_ = p.Process.Kill()
	<-p.done
	s.serve()
	if got := s.status(v); got != http.StatusUnauthorized {
		t.Errorf("deactivated before the kill: %d", got)
	}
}

// check compares the stored user with what was promised to the writer.
func (w *writer) check(s *site) {
	s.t.Helper()
	status, answer := s.call(s.token, http.MethodGet, "/Users/"+w.id, "")
	var u struct{ DisplayName, ExternalID, Title string }
	if err := json.Unmarshal([]byte(answer), &u); status != http.StatusOK || err != nil {
		s.t.Fatalf("%s: %d %s", w.name, status, answer)
	}
	if u.DisplayName != u.ExternalID || u.DisplayName != u.Title {
		s.t.Fatalf("%s is half written: %+v", w.name, u)
	}
	switch u.DisplayName {
	case fmt.Sprint("v", w.acked):
	case fmt.Sprint("v", w.sent):
		w.acked = w.sent
	default:
		s.t.Fatalf("%s is %s; v%d was acknowledged and v%d was under way", w.name, u.DisplayName, w.acked, w.sent)
	}
}

// verifyChain opens the database of a process that is gone.
func verifyChain(t *testing.T, path string) {
	t.Helper()
	db, err := sql.Open(t.Context(), "sqlite:"+path)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if n, err := db.VerifyAudit(t.Context()); err != nil || n == 0 {
		t.Fatalf("audit chain: %d events, %v", n, err)
	}
}
