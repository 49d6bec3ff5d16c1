package gatetest

import (
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"

	"github.com/coder/websocket"

	"github.com/ssogate/ssogate/internal/demo"
)

// Fault 20 and the reload of routes: rules change for requests and for streams that
// are open, a broken file changes nothing, and both can be seen from outside.
func TestReloadTakesRulesAtOnceAndKeepsThemWhenTheFileIsBroken(t *testing.T) {
	s := install(t)
	p := s.serve()
	ana := demo.People()[0]
	s.create("/Users", userBody(ana.User, "Ana"))
	v := s.signIn(ana)
	if got := s.status(v); got != http.StatusOK {
		t.Fatalf("benign: %d", got)
	}
	ws, _, err := websocket.Dial(t.Context(), strings.Replace(s.app, "http", "ws", 1)+"/ws", &websocket.DialOptions{
		HTTPHeader: http.Header{"Cookie": {cookieHeader(t, v, s.app)}, "Origin": {s.app}},
	})
	if err != nil {
		t.Fatal(err)
	}
	defer ws.CloseNow()
	closed := make(chan error, 1)
	go func() { closed <- closedWith(ws, websocket.StatusPolicyViolation) }()

	good, err := os.ReadFile(s.config)
	if err != nil {
		t.Fatal(err)
	}
	hangup := func(config string) {
		t.Helper()
		if err := os.WriteFile(s.config, []byte(config), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := p.Process.Signal(syscall.SIGHUP); err != nil {
			t.Fatal(err)
		}
	}
	strict := strings.Replace(string(good), "    upstream: ", "    teams: [\"board\"]\n    upstream: ", 1)
	hangup(strict)
	if err := <-closed; err != nil {
		t.Errorf("an open WebSocket of somebody whom the new rule refuses: %v", err)
	}
	eventually(t, "the new rule", func() bool { return s.status(v) == http.StatusForbidden })

	hangup(strings.Replace(strict, "upstream: ", "upstreem: ", 1))
	eventually(t, "the fault", func() bool { return strings.Contains(s.log.tail(8000), "routes[0].upstreem") })
	if got := s.status(v); got != http.StatusForbidden {
		t.Errorf("a broken file: %d, want the rule before it", got)
	}
	for path, want := range map[string]string{"/healthz": "degraded", "/metrics": "config_reload_ok 0"} {
		if got := fetch(t, s.private+path); !strings.Contains(got, want) {
			t.Errorf("%s does not say %q", path, want)
		}
	}

	hangup(string(good) + "log:\n  level: \"debug\"\n")
	eventually(t, "the old rule again", func() bool { return s.status(v) == http.StatusOK })
	if !strings.Contains(fetch(t, s.private+"/metrics"), "config_reload_ok 1") || !strings.HasPrefix(fetch(t, s.private+"/healthz"), "ok") {
		t.Error("it is still called degraded")
	}
	if !strings.Contains(s.log.tail(8000), "waits for a restart") {
		t.Error("the log does not name what waits for a restart")
	}
}

func fetch(t *testing.T, url string) string {
	t.Helper()
	resp, err := http.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
