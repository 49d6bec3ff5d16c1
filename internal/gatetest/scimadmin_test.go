package gatetest

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ssogate/ssogate/scim"
)

// accessToken asks the running process for one.
func (s *site) accessToken(id, secret string) (token string, status int) {
	s.t.Helper()
	form := url.Values{"grant_type": {"client_credentials"}, "client_id": {id}, "client_secret": {secret}}
	resp, err := (&http.Client{Timeout: 15 * time.Second}).PostForm(s.gateway+scim.TokenPath, form)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	var a struct {
		Token string `json:"access_token"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&a); err != nil {
		s.t.Fatal(err)
	}
	return a.Token, resp.StatusCode
}

func TestOAuthClientsOfTheCommandLineProvision(t *testing.T) {
	s := install(t)
	s.serve()
	out, stderr, code := s.runSplit("scim", "client", "create", "--name", "gallery", "--config", s.config)
	f := strings.Fields(out)
	if code != 0 || len(f) != 6 || !strings.Contains(stderr, s.gateway+scim.TokenPath) {
		t.Fatalf("create: %d %q %s", code, out, stderr)
	}
	id, secret := f[2], f[5]
	token, status := s.accessToken(id, secret)
	if status != http.StatusOK {
		t.Fatalf("token: %d", status)
	}
	if got, body := s.call(token, http.MethodPost, "/Users", `{"userName":"by-oauth"}`); got != http.StatusCreated {
		t.Fatalf("create with an access token: %d %s", got, body)
	}
	if _, status := s.accessToken(id, secret+"x"); status != http.StatusUnauthorized {
		t.Errorf("a wrong secret: %d", status)
	}
	list, _, _ := s.runSplit("scim", "client", "list", "--config", s.config)
	if !strings.Contains(list, id) || strings.Contains(list, secret) || strings.Contains(list, "never  never") {
		t.Errorf("list: %s", list)
	}
	if out, code := s.run("scim", "client", "revoke", id, "--config", s.config); code != 0 {
		t.Fatalf("revoke: %d %s", code, out)
	}
	if got, _ := s.call(token, http.MethodGet, "/Users", ""); got != http.StatusUnauthorized {
		t.Errorf("the access token of a revoked client: %d", got)
	}
	if out, code := s.run("scim", "client", "revoke", id, "--config", s.config); code != 1 || !strings.Contains(out, "scim client list") {
		t.Errorf("revoked twice: %d %s", code, out)
	}
	if log := s.log.String(); strings.Contains(log, secret) || strings.Contains(log, token) {
		t.Error("a secret is in the log (L01)")
	}
}

func TestPauseOfTheCommandLineHoldsAtOnce(t *testing.T) {
	s := install(t)
	s.serve()
	off := `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"replace","value":{"active":false}}]}`
	_, body := s.call(s.token, http.MethodPost, "/Users", `{"userName":"ana"}`)
	var made struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal([]byte(body), &made); err != nil || made.ID == "" {
		t.Fatalf("%v %s", err, body)
	}
	if out, code := s.run("scim", "pause", "--reason", "clean-up", "--config", s.config); code != 0 {
		t.Fatalf("pause: %d %s", code, out)
	}
	if got, body := s.call(s.token, http.MethodPatch, "/Users/"+made.ID, off); got != http.StatusServiceUnavailable || !strings.Contains(body, "paused") {
		t.Errorf("while paused: %d %s", got, body)
	}
	if out, code := s.run("scim", "status", "--config", s.config); code != 0 || !strings.Contains(out, "paused since") || !strings.Contains(out, "clean-up") {
		t.Errorf("status: %d %s", code, out)
	}
	if out, code := s.run("scim", "resume", "--config", s.config); code != 0 {
		t.Fatalf("resume: %d %s", code, out)
	}
	if got, body := s.call(s.token, http.MethodPatch, "/Users/"+made.ID, off); got != http.StatusOK {
		t.Errorf("after the pause: %d %s", got, body)
	}
	if out, _ := s.run("scim", "status", "--config", s.config); !strings.Contains(out, "working") {
		t.Errorf("status: %s", out)
	}
	if out, code := s.run("scim", "resume", "--config", s.config); code != 1 || !strings.Contains(out, "not paused") {
		t.Errorf("resumed twice: %d %s", code, out)
	}
}

func TestTheFlightRecorderIsReadOnTheCommandLine(t *testing.T) {
	s := install(t)
	s.serve()
	_, body := s.call(s.token, http.MethodPost, "/Users", `{"userName":"ana@example.com","password":"hunter2-and-more"}`)
	var made struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal([]byte(body), &made); err != nil || made.ID == "" {
		t.Fatalf("%v %s", err, body)
	}
	s.call(s.token, http.MethodPost, "/Users", `{"userName":"ANA@example.com"}`)
	s.call("wrong", http.MethodGet, "/Users", "")
	s.call(s.token, http.MethodPatch, "/Users/"+made.ID, `{"schemas":["urn:ietf:params:scim:api:messages:2.0:PatchOp"],"Operations":[{"op":"Replace","path":"active","value":"False"}]}`)
	eventually(t, "the entries are written", func() bool {
		out, code := s.run("scim", "log", "--config", s.config)
		return code == 0 && strings.Contains(out, "deactivated ana@example.com: 0 sessions ended in ") && strings.Contains(out, "without a valid token")
	})
	out, _ := s.run("scim", "log", "--member", "ana@example.com", "--body", "--config", s.config)
	if strings.Contains(out, "hunter2") || !strings.Contains(out, `"password":"[redacted]"`) || !strings.Contains(out, "Entra deactivated") || strings.Contains(out, "valid token") {
		t.Errorf("log of ana: %s", out)
	}
	out, _ = s.run("scim", "log", "--errors", "--json", "--config", s.config)
	for line := range strings.Lines(out) {
		var e struct {
			Status int `json:"status"`
		}
		if err := json.Unmarshal([]byte(line), &e); err != nil || e.Status < 400 {
			t.Errorf("%v: %s", err, line)
		}
	}
	for _, bad := range [][]string{{"--limit", "0"}, {"--limit", "5000"}, {"--since", "-1h"}, {"--provider", "nobody"}} {
		if out, code := s.run(append([]string{"scim", "log", "--config", s.config}, bad...)...); code != 1 {
			t.Errorf("%v: %d %s", bad, code, out)
		}
	}
	if out, code := s.run("scim", "drift", "--config", s.config); code != 0 || !strings.Contains(out, "everything is as") {
		t.Errorf("drift: %d %s", code, out)
	}
}

func TestAdoptionOfTheCommandLine(t *testing.T) {
	s := install(t)
	s.serve()
	_, body := s.call(s.token, http.MethodPost, "/Users", `{"userName":"ana@example.com"}`)
	var made struct {
		ID string `json:"id"`
	}
	if err := json.Unmarshal([]byte(body), &made); err != nil || made.ID == "" {
		t.Fatalf("%v %s", err, body)
	}
	if out, code := s.run("scim", "release", "ana@example.com", "--config", s.config); code != 0 || !strings.Contains(out, "no connection") {
		t.Fatalf("release: %d %s", code, out)
	}
	if got, _ := s.call(s.token, http.MethodGet, "/Users/"+made.ID, ""); got != http.StatusNotFound {
		t.Errorf("released, and still seen: %d", got)
	}
	if got, _ := s.call(s.token, http.MethodPost, "/Users", `{"userName":"ana@example.com"}`); got != http.StatusConflict {
		t.Errorf("C03: a name without an identity at the provider: %d", got)
	}
	if out, code := s.run("scim", "adopt", made.ID, "--config", s.config); code != 0 {
		t.Fatalf("adopt: %d %s", code, out)
	}
	if got, _ := s.call(s.token, http.MethodGet, "/Users/"+made.ID, ""); got != http.StatusOK {
		t.Errorf("adopted: %d", got)
	}
	for _, bad := range [][]string{{"adopt", made.ID}, {"release", "nobody"}, {"adopt", "nobody"}} {
		if out, code := s.run("scim", bad[0], bad[1], "--config", s.config); code != 1 || strings.Contains(out, "goroutine ") {
			t.Errorf("%v: %d %s", bad, code, out)
		}
	}
}
