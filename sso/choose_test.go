package sso_test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/ssogate/ssogate/settings"
)

// routed gives each provider an e-mail domain.
func (w *world) routed() {
	s := *w.live.Load()
	s.Providers = append([]settings.Provider(nil), s.Providers...)
	s.Providers[0].Domains, s.Providers[1].Domains = []string{"corp.example"}, []string{"partner.example"}
	w.live.Store(&s)
}

func TestTheDomainOfAnAddressChoosesTheProvider(t *testing.T) {
	w := newWorld(t)
	if a := w.browser().get(gateway + "/login"); strings.Contains(a.body, `name="address"`) {
		t.Error("a field for addresses where no domain leads anywhere")
	}
	w.routed()
	b := w.browser()
	page := b.follow(b.get(app+"/deep?x=1"), "")
	if !strings.Contains(page.body, `name="address"`) || page.link("Continue with Okta") == "" {
		t.Fatalf("no choice: %s", page.reason())
	}
	to := page.at.String()
	for address, want := range map[string]string{
		"ana@corp.example": "okta", "Ana@CORP.Example": "okta", "ana+x@partner.example": "keycloak",
		// Row O15: what two readers read differently leads nowhere.
		"ana@corp.example@evil.example": "", "ana@evil.example@corp.example": "", "ana＠corp.example": "", "ana%00@corp.example": "",
		`"ana@evil.example"@corp.example`: "", "ana@corp.example.": "", "ana@sub.corp.example": "", "ana@xcorp.example": "",
		"corp.example": "", "@corp.example": "", "": "", " ana@corp.example": "", "ana@corp.example\r\nX: y": "",
		"ana@unknown.example": "", "ana@" + strings.Repeat("a", 300) + ".corp.example": "",
	} {
		a := b.post(to, url.Values{"address": {address}})
		switch {
		case want == "" && (a.StatusCode != http.StatusUnprocessableEntity || a.refresh != "" || a.link("Continue with Okta") == ""):
			t.Errorf("%q: %s, on to %q; want the choice", address, a.reason(), a.refresh)
		case want != "" && !strings.Contains(a.refresh, "provider="+want):
			t.Errorf("%q: %s, on to %q; want %s", address, a.reason(), a.refresh, want)
		}
		if address != "" && strings.Contains(a.refresh+a.body, "ana+x") {
			t.Error("the address is in the answer")
		}
	}
	if strings.Contains(w.log.String(), "corp.example") {
		t.Error("W5: an address is in the log")
	}
	// The sign-in that it began in goes on, fragment included.
	a := b.post(to, url.Values{"address": {"ana@corp.example"}, "fragment": {"part"}})
	if end := b.follow(a, "ana"); end.body != "app for ana" || end.at.Path != "/deep" {
		t.Errorf("ended at %s: %s", end.at, end.reason())
	}
	for _, bad := range []url.Values{{}, {"address": {"a@corp.example", "b@corp.example"}}, {"address": {strings.Repeat("a", 9000)}}} {
		if a := b.post(to, bad); a.StatusCode != http.StatusBadRequest {
			t.Errorf("%.40v: %s", bad, a.reason())
		}
	}
	if a := b.send(http.MethodPost, to, url.Values{"address": {"ana@corp.example"}}, "Origin", "https://evil.example", "Sec-Fetch-Site", "cross-site"); a.StatusCode != http.StatusForbidden {
		t.Errorf("U01: a form of another site: %s", a.reason())
	}
}

func TestADisabledProviderIsNotReachedByItsDomain(t *testing.T) {
	w := newWorld(t)
	w.routed()
	s := *w.live.Load()
	s.Providers[0].Active = false
	s.Providers = append(s.Providers, settings.Provider{ID: "okta2", Protocol: settings.SAML})
	w.live.Store(&s)
	if a := w.browser().post(gateway+"/login", url.Values{"address": {"ana@corp.example"}}); strings.Contains(a.refresh, "provider=okta") {
		t.Errorf("S30: %s", a.refresh)
	}
}

func TestTheLastChoiceComesFirstAndSendsNobodyOn(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	first := func(a *answer) string {
		if i, j := strings.Index(a.body, "Continue with Okta"), strings.Index(a.body, "Continue with Keycloak"); i >= 0 && j >= 0 {
			if i < j {
				return "okta"
			}
			return "keycloak"
		}
		return a.reason()
	}
	if got := first(b.get(gateway + "/login")); got != "okta" {
		t.Fatalf("at first: %s; want the operator's order", got)
	}
	b.get(gateway + "/login?provider=keycloak")
	a := b.get(gateway + "/login")
	if first(a) != "keycloak" || a.refresh != "" || !strings.Contains(a.body, "Last time it was Keycloak") {
		t.Errorf("after a choice: %s, %q", first(a), a.refresh)
	}
	// It is no secret and decides nothing: what is not a provider is not believed.
	for _, bad := range []string{"none", "<script>", strings.Repeat("x", 600)} {
		b.jar["sso.example.com"]["__Host-ssogate-gateway-last"] = bad
		if a := b.get(gateway + "/login"); first(a) != "okta" || strings.Contains(a.body, "<script>") {
			t.Errorf("%q: %s", bad, first(a))
		}
	}
	w.providers("okta")
	b.jar["sso.example.com"]["__Host-ssogate-gateway-last"] = "keycloak"
	if a := b.get(gateway + "/login"); !strings.Contains(a.refresh, "provider=okta") {
		t.Errorf("the one provider: %q", a.refresh)
	}
}
