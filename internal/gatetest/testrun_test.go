package gatetest

import (
	"bufio"
	"encoding/json"
	"net/http"
	"os/exec"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
	"github.com/ssogate/ssogate/internal/demo"
	"github.com/ssogate/ssogate/settings"
	"github.com/ssogate/ssogate/sso"
	"github.com/ssogate/ssogate/sso/ssotest"
)

// tested opens the link of a test as a person would and answers the page at its end.
func tested(t *testing.T, v *demo.Visitor, link, provider string, p ssotest.Person) *demo.Sheet {
	t.Helper()
	s, err := v.SignIn(t.Context(), link, provider, p)
	for range 3 {
		if s == nil {
			t.Fatal(err)
		}
		if s.Refresh == "" {
			return s
		}
		s, err = v.Open(t.Context(), s.Refresh)
	}
	t.Fatalf("no end at %s", s.URL)
	return nil
}

// A test of each provider of the demo, over real sockets, by people who may and may
// not sign in. It makes no session (row S30) and tells no secret (row L01).
func TestConfigurationsAreTestedEndToEndS30(t *testing.T) {
	w := start(t)
	for i, word := range []string{"SAML", "OpenID"} {
		p := w.Server.Settings().Load().Providers[i]
		begin, err := w.Server.Tests().Begin(t.Context(), run.TestQuestion{Actor: "cli:op", Provider: p.ID, Digest: settings.Digest(p)})
		if err != nil {
			t.Fatal(err)
		}
		v := demo.NewVisitor()
		s := tested(t, v, begin.URL, word, w.ana())
		r, err := w.Server.Tests().Report(t.Context(), begin.ID)
		if err != nil || !r.Done() {
			t.Fatalf("%s: %v %+v", word, err, r)
		}
		if s.Title != "The test passed" || !r.Passed() {
			t.Errorf("%s: %q %+v", word, s.Title, r.Checks)
		}
		for _, name := range []string{"in_response_to", "signature", "issuer", "audience", "times", "attribute:email", "member", "browser", "replay"} {
			found := false
			for _, c := range r.Checks {
				found = found || c.Name == name
			}
			if !found {
				t.Errorf("%s: no check %s in %+v", word, name, r.Checks)
			}
		}
		if a := w.get(v, w.Facts.Gateway+"/me"); a.Status == http.StatusOK {
			t.Errorf("%s: S30: the test signed somebody in", word)
		}
		for _, secret := range []string{begin.ID, begin.URL[strings.Index(begin.URL, "id=")+3:]} {
			if strings.Contains(w.log.String(), secret) || strings.Contains(s.Body, secret) {
				t.Errorf("%s: L01: a secret in the log or page", word)
			}
		}
		if strings.Contains(s.Body, "SAMLResponse") || strings.Contains(s.Body, "eyJ") {
			t.Errorf("%s: L01: an answer in the page", word)
		}
	}
	if _, err := w.Server.Tests().Begin(t.Context(), run.TestQuestion{Provider: run.DemoOIDC, Digest: "sha256:old"}); err == nil {
		t.Error("a configuration that is not there is tested")
	}
}

// ssogate test-provider beside a running process.
func TestProviderIsTestedByTheCommand(t *testing.T) {
	s := install(t)
	p := s.serve()
	defer s.end(p, syscall.SIGTERM)
	cmd := exec.CommandContext(t.Context(), s.bin, "test-provider", "acme", "--json", "--config", s.config)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	cmd.Stdout, cmd.Dir = &out, s.dir
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	link := ""
	for lines := bufio.NewScanner(stderr); link == "" && lines.Scan(); {
		link = regexp.MustCompile(`http\S+/login/test\?id=\S+`).FindString(lines.Text())
	}
	if link == "" {
		t.Fatalf("no link: %v\n%s", cmd.Wait(), out.String())
	}
	page := tested(t, demo.NewVisitor(), link, "acme", demo.People()[0])
	err = cmd.Wait()
	var got struct {
		Passed  bool
		Offline []sso.Check
		Report  sso.Report
	}
	if jerr := json.Unmarshal([]byte(out.String()), &got); jerr != nil || !got.Report.Done() || len(got.Offline) == 0 {
		t.Fatalf("%v, %v\n%s", err, jerr, out.String())
	}
	if (err == nil) != got.Passed || got.Report.Passed() != (page.Title == "The test passed") {
		t.Errorf("exit %v, %q\n%s", err, page.Title, out.String())
	}
}
