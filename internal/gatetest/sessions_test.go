package gatetest

import (
	"context"
	stdsql "database/sql"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/ssogate/ssogate/internal/demo"
)

// The commands that list and end sessions, beside the running process.

// listed is one session as `ssogate sessions list --json` shows it.
type listed struct {
	Handle, Device, Address, Provider string
	UserAgent                         string `json:"user_agent"`
}

func (s *site) sessions(user string) (list []listed) {
	s.t.Helper()
	out, errs, code := s.runSplit("sessions", "list", "--user", user, "--json", "--config", s.config)
	if code != 0 {
		s.t.Fatalf("list: %d %s", code, errs)
	}
	if err := json.Unmarshal([]byte(out), &list); err != nil {
		s.t.Fatalf("list: %v\n%s", err, out)
	}
	return list
}

// handle finds the session of a device.
func (s *site) handle(user, device string) string {
	s.t.Helper()
	for _, l := range s.sessions(user) {
		if l.Device == device {
			return l.Handle
		}
	}
	s.t.Fatalf("%s has no session of %q", user, device)
	return ""
}

// revoke runs `ssogate sessions revoke` and demands that every node confirmed.
func (s *site) revoke(args ...string) {
	s.t.Helper()
	out, code := s.run(append([]string{"sessions", "revoke", "--config", s.config}, args...)...)
	if code != 0 || !strings.Contains(out, "ended on every node in ") {
		s.t.Fatalf("revoke %q: %d %s", args, code, out)
	}
}

func (s *site) socket(v *demo.Visitor) *websocket.Conn {
	s.t.Helper()
	c, _, err := websocket.Dial(s.t.Context(), strings.Replace(s.app, "http", "ws", 1)+"/ws", &websocket.DialOptions{
		HTTPHeader: http.Header{"Cookie": {cookieHeader(s.t, v, s.app)}, "Origin": {s.app}},
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { _ = c.CloseNow() })
	return c
}

const (
	firefox = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Firefox/128.0"
	safari  = "Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/17.5 Mobile/15E148 Safari/604.1"
)

// on signs Ana in from a device.
func (s *site) on(userAgent string) *demo.Visitor {
	s.t.Helper()
	v := demo.NewVisitor()
	v.Header.Set("User-Agent", userAgent)
	if _, err := v.SignIn(s.t.Context(), s.app+"/", "acme", demo.People()[0]); err != nil {
		s.t.Fatal(err)
	}
	return v
}

func (s *site) wantStatus(v *demo.Visitor, want int, what string) {
	s.t.Helper()
	if got := s.status(v); got != want {
		s.t.Errorf("%s: %d, want %d", what, got, want)
	}
}

// Rows K07 and C11: a command ends one session at once, with its open WebSocket,
// and no other.
func TestGuaranteeCutOffBySessionCommands(t *testing.T) {
	s := install(t)
	ana, ben := demo.People()[0], demo.People()[1]
	p := s.serve()
	s.create("/Users", userBody(ana.User, "Ana"))
	s.create("/Users", userBody(ben.User, "Ben"))
	laptop, phone, benB := s.on(firefox), s.on(safari), s.signIn(ben)
	laptopWS, phoneWS := s.socket(laptop), s.socket(phone)

	table, _, code := s.runSplit("sessions", "list", "--user", strings.ToUpper(ana.User), "--config", s.config)
	for _, want := range []string{"HANDLE", "Firefox on Windows", "Safari on iPhone", "127.0.0.1", "acme"} {
		if code != 0 || !strings.Contains(table, want) {
			t.Errorf("the list lacks %q: %d\n%s", want, code, table)
		}
	}
	handle := s.handle(ana.User, "Firefox on Windows")
	s.revoke("--user", ana.User, handle)
	s.wantStatus(laptop, http.StatusUnauthorized, "the laptop after the answer")
	if err := closedWith(laptopWS, websocket.StatusPolicyViolation); err != nil {
		t.Errorf("the laptop's WebSocket: %v", err)
	}
	s.wantStatus(phone, http.StatusOK, "the phone")
	answers(t, phoneWS, "the phone's WebSocket")
	if l := s.sessions(ana.User); len(l) != 1 || l[0].Device != "Safari on iPhone" {
		t.Errorf("left after that: %+v", l)
	}
	// Whoever was told "run it again" runs it again (C2): also once the record is gone.
	s.revoke("--user", ana.User, handle)
	for _, tt := range []struct {
		want string
		args []string
	}{
		{"has no session", []string{"--user", ben.User, handle}}, // hers is not his
		{"has no session", []string{"--user", ana.User, "0123456789abcdef"}},
		{"no member has the user name", []string{"--user", "nobody", "--all"}},
		{"no provider", []string{"--provider", "acne"}},
		{"not confirmed", []string{"--everyone"}},
	} {
		if out, code := s.run(append([]string{"sessions", "revoke", "--config", s.config}, tt.args...)...); code != 1 || !strings.Contains(out, tt.want) {
			t.Errorf("revoke %q: %d %s", tt.args, code, out)
		}
	}
	s.wantStatus(phone, http.StatusOK, "the phone after refused commands")

	s.revoke("--user", ana.User, "--all")
	s.wantStatus(phone, http.StatusUnauthorized, "the phone after --all")
	s.wantStatus(benB, http.StatusOK, "Ben after Ana's --all")
	s.revoke("--provider", "acme")
	s.wantStatus(benB, http.StatusUnauthorized, "Ben after --provider")
	benB = s.signIn(ben)
	s.wantStatus(benB, http.StatusOK, "Ben after he signed in again")
	s.revoke("--everyone", "--yes")
	s.wantStatus(benB, http.StatusUnauthorized, "Ben after --everyone")

	// Without a running process the command works on the database.
	laptop, phone = s.on(firefox), s.on(safari)
	s.end(p, syscall.SIGTERM)
	s.revoke("--user", ana.User, s.handle(ana.User, "Firefox on Windows"))
	s.serve()
	s.wantStatus(laptop, http.StatusUnauthorized, "the laptop, ended while nothing ran")
	s.wantStatus(phone, http.StatusOK, "the phone after the restart")
	s.wantAudited()
}

// wantAudited looks for what the commands did, and by whom.
func (s *site) wantAudited() {
	s.t.Helper()
	db, err := stdsql.Open("sqlite", s.database) // beside the process: only a reader of what is committed
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	for kind, want := range map[string]int{"session.ended": 2, "member.signed_out": 1, "sessions.provider_ended": 1, "sessions.all_ended": 1} {
		var n int
		err := db.QueryRowContext(s.t.Context(), "SELECT count(*) FROM audit WHERE kind = $1 AND actor LIKE 'cli%' AND reason = 'command'", kind).Scan(&n)
		if err != nil || n != want {
			s.t.Errorf("%d events %s by a command, want %d (%v)", n, kind, want, err)
		}
	}
}

// Row C11: a client may call itself anything; the operator's terminal shows it and
// does not obey it.
func TestC11SessionCommandsShowHostileDevices(t *testing.T) {
	s := install(t)
	s.serve()
	ana := demo.People()[0]
	s.create("/Users", userBody(ana.User, "Ana"))
	const hostile = "\u009b2J\u202eevil <b>" // what HTTP lets through
	s.on(hostile)
	for _, args := range [][]string{nil, {"--json"}} {
		out, _, code := s.runSplit(append([]string{"sessions", "list", "--user", ana.User, "--config", s.config}, args...)...)
		if code != 0 || strings.ContainsAny(out, "\u009b\u202e") {
			t.Errorf("list %q: %d %q", args, code, out)
		}
	}
	if l := s.sessions(ana.User); len(l) != 1 || l[0].UserAgent != hostile || l[0].Device != "unknown device" {
		t.Errorf("a program reads %+v", l)
	}
}

// session.per_member: one sign-in more ends the oldest session, at once.
func TestSessionsPerMemberEndTheOldest(t *testing.T) {
	s := install(t)
	s.addConfig("session:\n  per_member: 2\n")
	s.serve()
	ana, ben := demo.People()[0], demo.People()[1]
	s.create("/Users", userBody(ana.User, "Ana"))
	s.create("/Users", userBody(ben.User, "Ben"))
	benB := s.signIn(ben)
	var visitors []*demo.Visitor
	for i := range 3 {
		visitors = append(visitors, s.on(fmt.Sprintf("device%d/1", i)))
	}
	s.wantStatus(visitors[0], http.StatusUnauthorized, "the oldest")
	s.wantStatus(visitors[1], http.StatusOK, "the second")
	s.wantStatus(visitors[2], http.StatusOK, "the newest")
	s.wantStatus(benB, http.StatusOK, "another member")
	if l := s.sessions(ana.User); len(l) != 2 || l[0].Device != "device2" || l[1].Device != "device1" {
		t.Errorf("listed: %+v", l)
	}
}

// answers checks that a WebSocket is open at both ends. Somebody must read what
// the application says meanwhile, or the pong is never seen.
func answers(t *testing.T, ws *websocket.Conn, what string) {
	t.Helper()
	go func() {
		for {
			if _, _, err := ws.Read(context.Background()); err != nil {
				return
			}
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if err := ws.Ping(ctx); err != nil {
		t.Errorf("%s: %v", what, err)
	}
}
