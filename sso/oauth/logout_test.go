package oauth

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/ssogate/ssogate/sso"
	"github.com/ssogate/ssogate/sso/ssotest"
)

// logoutRig is a rig whose provider can make logout tokens.
type logoutRig struct {
	*rig
	key jose.SigningKey
	id  string
}

func newLogoutRig(t *testing.T) *logoutRig {
	t.Helper()
	key := ecKey(t)
	r := newRig(t, func(o *ssotest.OPOptions, _ *Options) { o.Key = key })
	if _, err := r.signIn(); err != nil { // the benign twin, and the key set is read
		t.Fatal(err)
	}
	m, err := r.p.disc.get(t.Context())
	if err != nil || len(m.keys.keys) != 1 {
		t.Fatalf("keys: %v", err)
	}
	return &logoutRig{rig: r, key: jose.SigningKey{Algorithm: jose.ES256, Key: key}, id: m.keys.keys[0].KeyID}
}

// token makes a logout token; change spoils its claims or headers.
func (r *logoutRig) token(change func(claims, header map[string]any)) string {
	r.t.Helper()
	claims := map[string]any{
		"iss": r.url, "aud": "client", "iat": r.at(0), "exp": r.at(2 * time.Minute), "jti": "j1", "sub": "ada", "sid": "s1",
		"events": map[string]any{logoutEvent: map[string]any{}},
	}
	header := map[string]any{"kid": r.id, "typ": "logout+jwt"}
	if change != nil {
		change(claims, header)
	}
	key := r.key
	if k, ok := header["key"].(jose.SigningKey); ok {
		key = k
		delete(header, "key")
	}
	o := &jose.SignerOptions{}
	for k, v := range header {
		o.WithHeader(jose.HeaderKey(k), v)
	}
	s, err := jose.NewSigner(key, o)
	if err != nil {
		r.t.Fatal(err)
	}
	raw, _ := json.Marshal(claims)
	jws, err := s.Sign(raw)
	if err != nil {
		r.t.Fatal(err)
	}
	text, _ := jws.CompactSerialize()
	return text
}

func (r *logoutRig) logout(body string) (sso.LogoutToken, error) {
	req := httptest.NewRequest(http.MethodPost, gateway+"/oauth/acme/backchannel-logout", strings.NewReader(body))
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	return r.p.ReceiveLogoutToken(httptest.NewRecorder(), req)
}

func form(token string) string { return url.Values{"logout_token": {token}}.Encode() }

func TestRowO18LogoutTokens(t *testing.T) {
	r := newLogoutRig(t)
	set := func(name string, v any) func(c, h map[string]any) {
		return func(c, _ map[string]any) {
			if v == nil {
				delete(c, name)
			} else {
				c[name] = v
			}
		}
	}
	for _, tt := range []struct {
		name, want, why string
		change          func(c, h map[string]any)
	}{
		{"benign", "", "the twin of all that follow", nil},
		{"without a type", "", "the type is only recommended", func(_, h map[string]any) { delete(h, "typ") }},
		{"sub alone", "", "all of a person's sessions", set("sid", nil)},
		{"sid alone", "", "one session", set("sub", nil)},
		{"without exp", "", "drafts had none; iat bounds it", set("exp", nil)},
		{"several audiences with azp", "", "we are the authorised party", func(c, _ map[string]any) { c["aud"], c["azp"] = []string{"client", "x"}, "client" }},
		{"nonce", "nonce", "an ID token as logout token", set("nonce", "n")},
		{"null nonce", "nonce", "prohibited, whatever it says", func(c, _ map[string]any) { c["nonce"] = json.RawMessage("null") }},
		{"no events", "events", "an ID token as logout token", set("events", nil)},
		{"another event", "events", "not this one", set("events", map[string]any{"http://schemas.openid.net/event/other": map[string]any{}})},
		{"event is no object", "events", "the specification says object", set("events", map[string]any{logoutEvent: "yes"})},
		{"event is null", "events", "the specification says object", set("events", map[string]any{logoutEvent: json.RawMessage("null")})},
		{"events is a list", "events", "not an object", set("events", []string{logoutEvent})},
		{"another issuer", "issuer", "", set("iss", "https://evil.example")},
		{"another client", "audience", "somebody else's logout", set("aud", "other")},
		{"azp of another", "azp", "", func(c, _ map[string]any) { c["aud"], c["azp"] = []string{"client", "x"}, "x" }},
		{"no jti", "jti", "a second use could not be told", set("jti", nil)},
		{"nobody", "subject", "", func(c, _ map[string]any) { delete(c, "sub"); delete(c, "sid") }},
		{"sub is a list", "malformed", "", set("sub", []string{"ada"})},
		{"expired", "time", "", set("exp", r.at(-2*time.Minute))},
		{"old, without exp", "time", "", func(c, _ map[string]any) { delete(c, "exp"); c["iat"] = r.at(-10 * time.Minute) }},
		{"issued tomorrow", "time", "", set("iat", r.at(24*time.Hour))},
		{"without iat", "time", "", set("iat", nil)},
		{"good for a day", "time", "it would have to be remembered as long", set("exp", r.at(24*time.Hour))},
		{"an access token's type", "token_type", "RFC 8725 section 3.11", func(_, h map[string]any) { h["typ"] = "at+jwt" }},
		{"another key", "signature", "", func(_, h map[string]any) { h["key"] = jose.SigningKey{Algorithm: jose.ES256, Key: ecKey(t)} }},
		{"unknown key", "key_unknown", "", func(_, h map[string]any) { h["kid"] = "none" }},
		{"HMAC", "alg", "keyed with the client secret", func(_, h map[string]any) {
			h["key"] = jose.SigningKey{Algorithm: jose.HS256, Key: []byte("s3cret/+ %0123456789012345678901")}
		}},
	} {
		got, err := r.logout(form(r.token(tt.change)))
		if reasonOf(err) != tt.want {
			t.Errorf("%s: %v, want %q (%s)", tt.name, err, tt.want, tt.why)
			continue
		}
		if (err == nil) != (got.ID != "" && got.Person+got.Index != "" && got.Until.After(r.clock.Now())) {
			t.Errorf("%s: %+v beside %v", tt.name, got, err)
		}
	}
}

func TestRowO18WhatIsNoLogoutToken(t *testing.T) {
	r := newLogoutRig(t)
	good := r.token(nil)
	head, rest, _ := strings.Cut(good, ".")
	_ = head
	l := r.begin(r.login())
	back, _ := url.Parse(r.callback(l))
	m, err := r.p.disc.get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	ids, err := r.p.exchange(t.Context(), m, back.Query().Get("code"), l.Start.Verifier)
	if err != nil {
		t.Fatal(err)
	}
	for why, body := range map[string]string{
		"an ID token": form(ids.id),
		"alg none":    form("eyJhbGciOiJub25lIn0." + strings.Split(rest, ".")[0] + "."),
		"nothing":     "",
		"two":         form(good) + "&" + form(good),
		"empty":       "logout_token=",
		"not a form":  "%zz",
		"too large":   form(strings.Repeat("x", 70<<10)),
		"no JWT":      form("x"),
		"cut off":     form(good[:len(good)-4]),
		"many parameters": form(good) + strings.Repeat("&a"+"=1", 1) + func() (s string) {
			for i := range 40 {
				s += "&p" + string(rune('a'+i%26)) + string(rune('a'+i/26)) + "=1"
			}
			return s
		}(),
	} {
		if got, err := r.logout(body); reasonOf(err) == "" || reasonOf(err) == "unavailable" || got.ID != "" {
			t.Errorf("%s: %+v, %v", why, got, err)
		}
	}
	req := httptest.NewRequest(http.MethodPost, gateway+"/oauth/acme/backchannel-logout", strings.NewReader(form(good)))
	req.Header.Set("Content-Type", "application/json")
	if _, err := r.p.ReceiveLogoutToken(httptest.NewRecorder(), req); reasonOf(err) != "malformed" {
		t.Errorf("another type of body: %v", err)
	}
	// Row O16: unknown key ids cost few fetches.
	before := r.count("/jwks")
	for range 50 {
		_, _ = r.logout(form(r.token(func(_, h map[string]any) { h["kid"] = "x" })))
	}
	if n := r.count("/jwks") - before; n > fetchesPerMinute {
		t.Errorf("%d fetches", n)
	}
}

// A logout token is not an ID token either: no nonce, and a type of its own.
func TestLogoutTokenSignsNobodyIn(t *testing.T) {
	r := newLogoutRig(t)
	m, err := r.p.disc.get(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := checkSignature(t.Context(), m.keys, r.token(nil), ""); reasonOf(err) != "token_type" {
		t.Errorf("%v", err)
	}
}

func TestSignOutAtTheProvider(t *testing.T) {
	r := newRig(t)
	a, err := r.signIn()
	if err != nil || a.SignOut.Person == "" || len(a.SignOut.Hint) == 0 {
		t.Fatalf("%+v %v", a.SignOut, err)
	}
	start, ok, err := r.p.BeginSignOut(t.Context(), a.SignOut, "state1")
	if err != nil || !ok {
		t.Fatal(ok, err)
	}
	u, _ := url.Parse(start.URL)
	q := u.Query()
	if u.Path != "/end_session" || q.Get("state") != "state1" || q.Get("client_id") != "client" ||
		q.Get("post_logout_redirect_uri") != gateway+LogoutDone || q.Get("id_token_hint") != string(a.SignOut.Hint) {
		t.Errorf("%s", start.URL)
	}
	none := newRig(t, func(o *ssotest.OPOptions, _ *Options) {
		o.Hooks.Discovery = func(doc map[string]any) { delete(doc, "end_session_endpoint") }
	})
	if _, ok, err := none.p.BeginSignOut(t.Context(), a.SignOut, "s"); ok || err != nil {
		t.Errorf("a provider without one: %v %v", ok, err)
	}
	evil := newRig(t, func(o *ssotest.OPOptions, _ *Options) {
		o.Hooks.Discovery = func(doc map[string]any) { doc["end_session_endpoint"] = "javascript:alert(1)" }
	})
	if _, _, err := evil.p.BeginSignOut(t.Context(), a.SignOut, "s"); err == nil {
		t.Error("people are sent to a javascript: address")
	}
}
