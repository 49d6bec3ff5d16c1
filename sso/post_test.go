package sso_test

import (
	"html"
	"net/http"
	"strings"
	"testing"

	"github.com/ssogate/ssogate/sso"
)

// An IdP that takes POST only gets its message by a page; the sign-in that comes
// back is the same as after a redirect.
func TestAMessageIsPostedToTheIdP(t *testing.T) {
	w := newWorld(t)
	w.okta.form = []sso.Field{{Name: "SAMLRequest", Value: "PHg+"}, {Name: "RelayState", Value: "r\"<"}}
	b := w.browser()
	a := b.get(gateway + "/login?provider=okta")
	policy := a.Header.Get("Content-Security-Policy")
	if a.StatusCode != http.StatusOK || a.Header.Get("Location") != "" || a.Header.Get("Cache-Control") != "no-store" ||
		!strings.Contains(policy, "form-action https://"+idpHost+";") || strings.Contains(policy, "unsafe") {
		t.Fatalf("status %d, policy %q", a.StatusCode, policy)
	}
	for _, want := range []string{`method="post" action="https://` + idpHost + `/okta?`, `name="SAMLRequest" value="PHg&#43;"`, `value="r&#34;&lt;"`, "<button"} {
		if !strings.Contains(a.body, want) {
			t.Errorf("no %s in %s", want, a.body)
		}
	}
	_, rest, _ := strings.Cut(a.body, `action="`)
	action, _, _ := strings.Cut(rest, `"`)
	if back := b.follow(b.idp(html.UnescapeString(action), "ana"), "ana"); back.at.String() != app+"/" {
		t.Errorf("ended at %s (%s)", back.at, back.reason())
	}
}
