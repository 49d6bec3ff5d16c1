package gatetest

import (
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/coder/websocket"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
)

// Rows S29 and O18 through everything, on both engines: a provider's logout ends the
// sessions it names, open WebSockets included, before it is answered, and no others.
func TestGuaranteeALogoutAtTheProviderEndsWhatItNames(t *testing.T) {
	engines(t, func(t *testing.T, with func(*run.DemoOptions)) {
		w := start(t, with)
		ana, ben := w.signedIn(w.ana()), w.byOpenID(w.ben())
		hers, his := w.socket(ana), w.socket(ben)
		slo := w.Facts.Gateway + "/saml/" + run.DemoSAML + "/slo"
		u, err := w.SAML.LogoutURL(slo, w.ana().Email, "")
		if err != nil {
			t.Fatal(err)
		}
		// Benign twins of the attacks, in order: changed on its way, then as it was sent.
		spoiled := strings.Replace(u, "SAMLRequest=", "RelayState=x&SAMLRequest=", 1)
		if a := w.get(ana, spoiled); a.Status != http.StatusForbidden {
			t.Errorf("S29: a RelayState that nobody signed: %d", a.Status)
		}
		stays(t, hers)
		if a := w.get(ben, u); a.Status != http.StatusOK && a.Status != http.StatusFound {
			t.Fatalf("the IdP's logout: %d %s", a.Status, a.Body)
		}
		if a := w.api(ana, "/"); a.Status != http.StatusUnauthorized {
			t.Errorf("after the IdP's logout: %d", a.Status)
		}
		if err := closedWith(hers, websocket.StatusPolicyViolation); err != nil {
			t.Errorf("her WebSocket: %v", err)
		}
		if a := w.get(ana, u); a.Status != http.StatusForbidden {
			t.Errorf("S29: the same message again: %d", a.Status)
		}
		stays(t, his)

		token := func(jti string) url.Values {
			now := w.clock.Now().Unix()
			raw, err := w.OP.SignClaims(map[string]any{
				"iss": w.Server.Settings().Load().Providers[1].OIDC.Issuer, "aud": w.Server.Settings().Load().Providers[1].OIDC.ClientID,
				"iat": now, "exp": now + 120, "jti": jti, "sub": w.OP.Sub(w.ben().User),
				"events": map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}},
			})
			if err != nil {
				t.Fatal(err)
			}
			return url.Values{"logout_token": {raw}}
		}
		back := w.Facts.Gateway + "/oauth/" + run.DemoOIDC + "/backchannel-logout"
		bad := token("j0")
		bad.Set("logout_token", bad.Get("logout_token")[:40]+"x"+bad.Get("logout_token")[41:])
		post := func(form url.Values) int {
			resp, err := http.PostForm(back, form)
			if err != nil {
				t.Fatal(err)
			}
			_ = resp.Body.Close()
			return resp.StatusCode
		}
		if got := post(bad); got != http.StatusBadRequest {
			t.Errorf("O18: a spoiled token: %d", got)
		}
		stays(t, his)
		good := token("j1")
		if got := post(good); got != http.StatusOK {
			t.Errorf("O18: %d", got)
		}
		if err := closedWith(his, websocket.StatusPolicyViolation); err != nil {
			t.Errorf("his WebSocket: %v", err)
		}
		if got := post(good); got != http.StatusBadRequest {
			t.Errorf("O18: the same token again: %d", got)
		}
	})
}

// Signing out here signs out at the OpenID provider too, and comes back.
func TestSigningOutEndsAtTheOpenIDProviderToo(t *testing.T) {
	w := start(t)
	ben := w.byOpenID(w.ben())
	a := w.send(ben, http.MethodPost, w.Facts.Gateway+"/logout", nil, "Origin", w.Facts.Gateway, "Sec-Fetch-Site", "same-origin")
	_, rest, ok := strings.Cut(a.Body, `content="0;url=`)
	if a.Status != http.StatusOK || !ok {
		t.Fatalf("not sent on: %d %s", a.Status, a.Body)
	}
	next, _, _ := strings.Cut(rest, `"`)
	s, err := ben.Open(t.Context(), strings.ReplaceAll(next, "&amp;", "&"))
	if err != nil || !strings.HasPrefix(s.URL.String(), w.Facts.Gateway+"/logout/done?state=") || !strings.Contains(s.Body, "has signed you out too") {
		t.Fatalf("ended at %+v, %v", s, err)
	}
	if strings.Contains(w.log.String(), "id_token_hint=ey") {
		t.Error("L01: an ID token is in the log")
	}
}
