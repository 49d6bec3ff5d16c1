package gatetest

import (
	"context"
	stdsql "database/sql"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/ssogate/ssogate/internal/demo"
	"github.com/ssogate/ssogate/internal/testserver"
)

// listedKey is one key as `ssogate keys list --json` shows it.
type listedKey struct{ ID, Use, State, Source, Note string }

func (s *site) keys() (list []listedKey) {
	s.t.Helper()
	out, errs, code := s.runSplit("keys", "list", "--json", "--config", s.config)
	if code != 0 {
		s.t.Fatalf("keys list: %d %s", code, errs)
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		s.t.Fatalf("keys list: %v\n%s", err, out)
	}
	return list
}

// cookieKey is the id of the cookie key in a state.
func (s *site) cookieKey(state string) string {
	s.t.Helper()
	for _, k := range s.keys() {
		if k.Use == "cookies" && k.State == state {
			return k.ID
		}
	}
	s.t.Fatalf("no cookie key is %s: %+v", state, s.keys())
	return ""
}

// rotate runs `ssogate keys rotate` and answers the id of the new key.
func (s *site) rotate() (id string) {
	s.t.Helper()
	out, code := s.run("keys", "rotate", "--config", s.config)
	if _, err := fmt.Sscanf(out, "cookie key %16s", &id); code != 0 || err != nil || !strings.Contains(out, "accepted by every node, and in use") {
		s.t.Fatalf("rotate: %d %s", code, out)
	}
	return id
}

// cookiesBy reads the gauge of a node.
func (s *site) cookiesBy(private, key string) (n int) {
	s.t.Helper()
	resp, err := http.Get(private + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(line, fmt.Sprintf("cookies_by_key{key=%q} ", key)); ok {
			if _, err := fmt.Sscan(v, &n); err != nil {
				s.t.Fatal(err)
			}
		}
	}
	return n
}

// hammer asks with a visitor's cookie again and again until stop is called, which
// answers how often, and what was not a 200. Address "" is the first node.
func (s *site) hammer(v *demo.Visitor, address string) (stop func() (int, map[int]int)) {
	done := make(chan struct{})
	odd, n := map[int]int{}, 0
	transport := through(address)
	transport.DisableKeepAlives = false
	client := &http.Client{Jar: v.Jar(), Transport: transport, Timeout: 20 * time.Second}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-done:
				return
			default:
			}
			n++
			time.Sleep(2 * time.Millisecond) // a person is slower still, and two nodes share this machine
			if code := ask(client, s.app); code != http.StatusOK {
				odd[code]++
			}
		}
	})
	return sync.OnceValues(func() (int, map[int]int) {
		close(done)
		wg.Wait()
		transport.CloseIdleConnections()
		return n, odd
	})
}

// through reaches one node, whatever the host's name says.
func through(address string) *http.Transport {
	t := &http.Transport{DisableKeepAlives: true}
	if address != "" {
		t.DialContext = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, address)
		}
	}
	return t
}

// ask is what a script of the application is answered; 0 when nothing was.
func ask(client *http.Client, app string) int {
	req, err := http.NewRequest(http.MethodGet, app+"/", nil)
	if err != nil {
		return 0
	}
	req.Header.Set("Accept", "application/json")
	resp, err := client.Do(req)
	if err != nil {
		return 0
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// K08 and fault 21: a key is rotated under a live session, which goes on; what is
// new is made with the new key; once the old one is retired, its cookies lead to a
// new sign-in and to nothing else.
func TestCookieKeyRotationUnderLiveSessions(t *testing.T) {
	s := install(t)
	p := s.serve()
	ana, ben := demo.People()[0], demo.People()[1]
	s.create("/Users", userBody(ana.User, "Ana"))
	s.create("/Users", userBody(ben.User, "Ben"))
	anaB := s.signIn(ana)
	ws := s.socket(anaB)
	old := s.cookieKey("current")
	eventually(t, "her cookie is counted under the config's key", func() bool {
		return s.status(anaB) == http.StatusOK && s.cookiesBy(s.private, old) > 0
	})
	stop := s.hammer(anaB, "")
	made := s.rotate()
	again := s.rotate() // and once more, as after a leak
	if n, odd := stop(); n == 0 || len(odd) > 0 {
		t.Errorf("of %d requests during the rotation: %v", n, odd)
	}
	answers(t, ws, "the WebSocket after the rotation")
	benB := s.signIn(ben)
	eventually(t, "his cookie is counted under the new key", func() bool {
		return s.status(benB) == http.StatusOK && s.cookiesBy(s.private, again) > 0
	})
	if n := s.cookiesBy(s.private, made); n != 0 {
		t.Errorf("%d cookies were made with a key that was in use for a moment", n)
	}
	for id, want := range map[string]string{old: "previous", made: "previous", again: "current"} {
		for _, k := range s.keys() {
			if k.ID == id && k.State != want {
				t.Errorf("%s is %s, want %s", id, k.State, want)
			}
		}
	}
	_ = ws.CloseNow()

	// A day later.
	s.end(p, syscall.SIGTERM)
	db, err := stdsql.Open("sqlite", s.database)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.ExecContext(t.Context(), "UPDATE cookie_keys SET changed = changed - 90000000")
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
	s.serve()
	eventually(t, "the old key is retired", func() bool { return s.cookieKey("retired") != "" && s.status(anaB) != http.StatusOK })
	if got := s.status(anaB); got != http.StatusUnauthorized {
		t.Errorf("a cookie of a retired key: %d, want a new sign-in", got)
	}
	if got := s.status(benB); got != http.StatusOK {
		t.Errorf("a cookie of the key in use: %d", got)
	}
	if _, err := anaB.SignIn(t.Context(), s.app+"/", "acme", ana); err != nil {
		t.Errorf("her new sign-in in the same browser: %v", err)
	}
	if got := s.status(anaB); got != http.StatusOK {
		t.Errorf("after it: %d", got)
	}
	s.wantNoKeys()
}

// wantNoKeys looks for key material where people and machines read (L01).
func (s *site) wantNoKeys() {
	s.t.Helper()
	config, err := os.ReadFile(s.config)
	if err != nil {
		s.t.Fatal(err)
	}
	list, _, _ := s.runSplit("keys", "list", "--config", s.config)
	resp, err := http.Get(s.private + "/metrics")
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	metrics, err := io.ReadAll(resp.Body)
	if err != nil {
		s.t.Fatal(err)
	}
	found := 0
	for line := range strings.Lines(string(config)) {
		name, key, _ := strings.Cut(strings.TrimSpace(line), `: "`)
		if key = strings.TrimSuffix(key, `"`); name != "cookie_key" && name != "seal_key" {
			continue
		}
		found++
		for where, text := range map[string]string{"log": s.log.String(), "list": list, "metrics": string(metrics)} {
			if strings.Contains(text, key[:20]) {
				s.t.Errorf("L01: secrets.%s is in the %s", name, where)
			}
		}
	}
	if found != 2 {
		s.t.Errorf("found %d keys in the config file", found)
	}
}

// second is another process on the same database, with its own listeners.
type second struct {
	*process
	address, private string
	out              *logBuffer
	ended            chan struct{}
}

// beside starts another node and waits until it is ready or has ended.
func (s *site) beside(name string, env ...string) *second {
	s.t.Helper()
	n := &second{process: &process{Cmd: exec.Command(s.bin, "serve", "--config", s.config), done: make(chan error, 1)}, out: &logBuffer{}, ended: make(chan struct{})}
	n.address, n.private = "127.0.0.1:"+freePort(s.t), "http://127.0.0.1:"+freePort(s.t)
	n.Dir, n.Stderr, n.Stdout = s.dir, n.out, n.out
	n.Env = append(os.Environ(), "SSOGATE_NODE_NAME="+name, "SSOGATE_LISTEN="+n.address, "SSOGATE_PRIVATE_LISTEN="+strings.TrimPrefix(n.private, "http://"))
	n.Env = append(n.Env, env...)
	if err := n.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		n.done <- n.Wait()
		close(n.ended)
	}()
	s.t.Cleanup(func() {
		_ = n.Process.Kill() // nothing to do when it has ended
		<-n.ended
		if s.t.Failed() {
			s.t.Logf("log of %s:\n%s", name, n.out.tail(3000))
		}
	})
	eventually(s.t, name+" is ready or has ended", func() bool {
		select {
		case <-n.ended:
			return true
		default:
		}
		resp, err := http.Get(n.private + "/readyz")
		if err != nil {
			return false
		}
		_ = resp.Body.Close()
		return resp.StatusCode == http.StatusOK
	})
	return n
}

// refused reports the text of a node that ended instead of starting.
func (n *second) refused() string {
	select {
	case <-n.ended:
		return n.out.String()
	default:
		return ""
	}
}

func (s *site) onPostgres() {
	s.addConfig("database:\n  url: \"" + testserver.Postgres(s.t) + "\"\nnode:\n  name: \"gate-1\"\n")
}

func otherKey(n int) string {
	b := make([]byte, 0, 64)
	for i := range n {
		b = append(b, byte(i*i*7+i*13+5))
	}
	return base64.StdEncoding.EncodeToString(b)
}

// configValue reads a value of the config file.
func (s *site) configValue(key string) string {
	s.t.Helper()
	text, err := os.ReadFile(s.config)
	if err != nil {
		s.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(line), key+`: "`); ok {
			return strings.TrimSuffix(v, `"`)
		}
	}
	s.t.Fatalf("no %s in the config file", key)
	return ""
}

// Row K08, over processes: keys are rotated on two nodes, one of which is away in
// the middle of it; and commands end sessions on the node that they do not ask.
func TestKeysAndSessionsOverTwoNodes(t *testing.T) {
	s := install(t)
	s.onPostgres()
	s.serve()
	ana, ben := demo.People()[0], demo.People()[1]
	s.create("/Users", userBody(ana.User, "Ana"))
	s.create("/Users", userBody(ben.User, "Ben"))
	n := s.beside("gate-2")
	if n.refused() != "" {
		t.Fatalf("the second node: %s", n.refused())
	}
	anaB := s.signIn(ana)
	one, two := s.hammer(anaB, ""), s.hammer(anaB, n.address)
	made := s.rotate()
	for name, stop := range map[string]func() (int, map[int]int){"gate-1": one, "gate-2": two} {
		if asked, odd := stop(); asked == 0 || len(odd) > 0 {
			t.Errorf("%s: of %d requests during the rotation: %v", name, asked, odd)
		}
	}
	at2 := func(v *demo.Visitor) int {
		return ask(&http.Client{Jar: v.Jar(), Transport: through(n.address)}, s.app)
	}
	benB := s.signIn(ben)
	eventually(t, "his cookie is counted on the other node under the new key", func() bool {
		return at2(benB) == http.StatusOK && s.cookiesBy(n.private, made) > 0
	})

	// The other node sleeps while a key is made and used.
	if err := n.Process.Signal(syscall.SIGSTOP); err != nil {
		t.Fatal(err)
	}
	again := s.rotate()
	cleo := s.signIn(ben) // another browser
	if again == made || s.status(cleo) != http.StatusOK {
		t.Errorf("while it sleeps: key %s, status %d", again, s.status(cleo))
	}
	if err := n.Process.Signal(syscall.SIGCONT); err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]*demo.Visitor{"the newest key": cleo, "the key before": benB, "the config's key": anaB} {
		if got := at2(v); got != http.StatusOK {
			t.Errorf("the node that slept, with a cookie of %s: %d", name, got)
		}
	}

	// A command beside the nodes ends what runs on either.
	ws, _, err := websocket.Dial(t.Context(), "ws://"+n.address+"/ws", &websocket.DialOptions{
		Host: strings.TrimPrefix(s.app, "http://"), HTTPHeader: http.Header{"Cookie": {cookieHeader(t, anaB, s.app)}, "Origin": {s.app}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	s.revoke("--user", ana.User, s.sessions(ana.User)[0].Handle)
	if got := at2(anaB); got != http.StatusUnauthorized {
		t.Errorf("on the other node after the answer: %d", got)
	}
	if err := closedWith(ws, websocket.StatusPolicyViolation); err != nil {
		t.Errorf("her WebSocket on the other node: %v", err)
	}
	if got := at2(benB); got != http.StatusOK {
		t.Errorf("Ben on the other node: %d", got)
	}

	// A seal key that the others do not have, whoever asks.
	other := []string{"SSOGATE_SECRETS_SEAL_KEY=" + otherKey(32), "SSOGATE_SECRETS_SEAL_KEY_PREVIOUS=" + s.configValue("seal_key")}
	if out := s.beside("gate-3", other...).refused(); !strings.Contains(out, "does not accept seal key") {
		t.Errorf("a node with a seal key of its own: %s", out)
	}
	for _, args := range [][]string{{"keys", "rotate"}, {"keys", "rotate", "--seal"}} {
		cmd := exec.Command(s.bin, append(args, "--config", s.config)...)
		cmd.Dir, cmd.Env = s.dir, append(os.Environ(), other...)
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "does not accept seal key") {
			t.Errorf("%q with a seal key of its own: %v %s", args, err, out)
		}
	}
}

// Row K08: the order in which nodes get a new key of the config file is checked at
// start, and the message says which key, on which node, and what to do first.
func TestKeyOrderThatDiffersRefusesStart(t *testing.T) {
	s := install(t)
	s.onPostgres()
	s.serve()
	old, next := s.configValue("cookie_key"), otherKey(64)
	for _, tt := range []struct {
		why  string
		env  []string
		want string // of the refusal; "" starts
	}{
		{"another key alone", []string{"SSOGATE_SECRETS_COOKIE_KEY=" + next}, "set it as secrets.cookie_key_previous on every node first"},
		{"the new key used before the others accept it", []string{"SSOGATE_SECRETS_COOKIE_KEY=" + next, "SSOGATE_SECRETS_COOKIE_KEY_PREVIOUS=" + old}, "does not accept cookie key"},
		{"the new key accepted first", []string{"SSOGATE_SECRETS_COOKIE_KEY_PREVIOUS=" + next}, ""},
	} {
		n := s.beside("gate-2", tt.env...)
		switch out := n.refused(); {
		case tt.want == "" && out != "":
			t.Errorf("%s: refused: %s", tt.why, out)
		case tt.want != "" && (!strings.Contains(out, tt.want) || !strings.Contains(out, "gate-1") || n.ProcessState.ExitCode() != 1):
			t.Errorf("%s: %q", tt.why, out)
		}
	}
}
