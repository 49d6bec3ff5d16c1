package scim_test

import (
	"encoding/base64"
	"encoding/json"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/scim"
	"github.com/ssogate/ssogate/scim/record"
	"github.com/ssogate/ssogate/settings"
)

// oauth posts to the token endpoint.
func (s *server) oauth(h *scim.Handler, form url.Values, headers ...string) answer {
	s.t.Helper()
	r := httptest.NewRequestWithContext(s.t.Context(), "POST", "https://sso.example.com"+scim.TokenPath, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	for i := 0; i+1 < len(headers); i += 2 {
		r.Header.Add(headers[i], headers[i+1])
	}
	w := httptest.NewRecorder()
	h.TokenEndpoint().ServeHTTP(w, r)
	a := answer{status: w.Code, header: w.Header(), raw: w.Body.String()}
	if err := json.Unmarshal(w.Body.Bytes(), &a.body); err != nil {
		s.t.Fatalf("not JSON: %s", a.raw)
	}
	if a.header.Get("Cache-Control") != "no-store" || a.header.Get("Pragma") != "no-cache" {
		s.t.Errorf("may be cached: %v", a.header)
	}
	return a
}

func basic(id, secret string) string {
	return "Basic " + base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(id)+":"+url.QueryEscape(secret)))
}

func TestClientCredentialsGiveATokenForAnHour(t *testing.T) {
	s := newServer(t)
	h := s.handler(func(o *scim.Options) { o.Now = s.now.Now })
	secret, client, err := scim.CreateClient(t.Context(), s.db, "okta", "Entra gallery", "cli", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	grant := url.Values{"grant_type": {"client_credentials"}}
	post := url.Values{"grant_type": {"client_credentials"}, "client_id": {client.ID}, "client_secret": {secret}, "scope": {"ignored"}}
	for name, a := range map[string]answer{
		"client_secret_post":  s.oauth(h, post),
		"client_secret_basic": s.oauth(h, grant, "Authorization", basic(client.ID, secret)),
		"basic, not escaped":  s.oauth(h, grant, "Authorization", "Basic "+base64.StdEncoding.EncodeToString([]byte(client.ID+":"+secret))),
	} {
		if a.status != 200 || a.text("token_type") != "Bearer" || a.get("expires_in") != 3600.0 {
			t.Fatalf("%s: %d %s", name, a.status, a.raw)
		}
		s.token = a.text("access_token")
		s.want(200, "GET", "/Users", "")
	}
	list, err := s.db.ListClients(t.Context(), "okta")
	if err != nil || len(list) != 1 || list[0].LastUsed.IsZero() {
		t.Errorf("last use is not noted: %+v, %v", list, err)
	}
	id := s.createUser("ana")
	other := s.token
	s.token = tokenRole
	s.want(404, "GET", "/Users/"+id, "") // it was made in the client's connection
	s.token = other

	s.now.Advance(time.Hour - time.Second)
	s.want(200, "GET", "/Users", "")
	s.now.Advance(time.Second)
	errorBody(t, s.do("GET", "/Users", ""), 401, "")

	fresh := s.oauth(h, post).text("access_token")
	s.token = fresh
	s.want(200, "GET", "/Users", "")
	if err := s.db.RevokeClient(t.Context(), client.ID, audit.Event{Kind: "test"}); err != nil {
		t.Fatal(err)
	}
	errorBody(t, s.do("GET", "/Users", ""), 401, "") // at once
	if a := s.oauth(h, post); a.status != 401 || a.text("error") != "invalid_client" {
		t.Errorf("a revoked client: %d %s", a.status, a.raw)
	}
	if strings.Contains(s.log.String(), secret) || strings.Contains(s.log.String(), fresh) {
		t.Error("a secret is in the log")
	}
}

func TestC01TokenEndpointRefusesEverythingElse(t *testing.T) {
	s := newServer(t)
	h := s.handler(func(o *scim.Options) { o.Now = s.now.Now })
	secret, client, err := scim.CreateClient(t.Context(), s.db, "okta", "x", "cli", time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	orphanSecret, orphan, err := scim.CreateClient(t.Context(), s.db, "gone", "x", "cli", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	good := func() url.Values {
		return url.Values{"grant_type": {"client_credentials"}, "client_id": {client.ID}, "client_secret": {secret}}
	}
	with := func(k string, v ...string) url.Values {
		f := good()
		f[k] = v
		return f
	}
	for _, tc := range []struct {
		name    string
		form    url.Values
		headers []string
		status  int
		code    string
	}{
		{"no grant type", with("grant_type"), nil, 400, "unsupported_grant_type"},
		{"another grant", with("grant_type", "authorization_code"), nil, 400, "unsupported_grant_type"},
		{"no client", url.Values{"grant_type": {"client_credentials"}}, nil, 401, "invalid_client"},
		{"no secret", with("client_secret"), nil, 401, "invalid_client"},
		{"empty secret", with("client_secret", ""), nil, 401, "invalid_client"},
		{"wrong secret", with("client_secret", "ssogate_scim_secret_"+strings.Repeat("A", 43)), nil, 401, "invalid_client"},
		{"the hash for the secret", with("client_secret", client.Hash), nil, 401, "invalid_client"},
		{"another client's secret", with("client_secret", orphanSecret), nil, 401, "invalid_client"},
		{"unknown client", with("client_id", "scim-client-unknown"), nil, 401, "invalid_client"},
		{"a client id that is a path", with("client_id", "scim-client-../x"), nil, 401, "invalid_client"},
		{"connection is gone", url.Values{"grant_type": {"client_credentials"}, "client_id": {orphan.ID}, "client_secret": {orphanSecret}}, nil, 401, "invalid_client"},
		{"secret twice", with("client_secret", secret, secret), nil, 400, "invalid_request"},
		{"two ways at once", good(), []string{"Authorization", basic(client.ID, secret)}, 400, "invalid_request"},
		{"two headers", with("client_secret"), []string{"Authorization", basic(client.ID, secret), "Authorization", basic(client.ID, secret)}, 400, "invalid_request"},
		{"two client ids", url.Values{"grant_type": {"client_credentials"}, "client_id": {"other"}}, []string{"Authorization", basic(client.ID, secret)}, 400, "invalid_request"},
		{"another scheme", url.Values{"grant_type": {"client_credentials"}}, []string{"Authorization", "Bearer " + secret}, 401, "invalid_client"},
		{"a bearer token of the connection", url.Values{"grant_type": {"client_credentials"}}, []string{"Authorization", basic("x", tokenOkta)}, 401, "invalid_client"},
		{"too large", with("scope", strings.Repeat("a", 20<<10)), nil, 413, "invalid_request"},
		{"JSON", good(), []string{"Content-Type", "application/json"}, 200, ""}, // replaced below
	} {
		if tc.name == "JSON" {
			r := httptest.NewRequestWithContext(t.Context(), "POST", scim.TokenPath, strings.NewReader(`{}`))
			r.Header.Set("Content-Type", "application/json")
			w := httptest.NewRecorder()
			h.TokenEndpoint().ServeHTTP(w, r)
			if w.Code != 400 {
				t.Errorf("JSON: %d", w.Code)
			}
			continue
		}
		a := s.oauth(h, tc.form, tc.headers...)
		if a.status != tc.status || a.text("error") != tc.code || a.text("error_description") == "" || a.get("access_token") != nil {
			t.Errorf("%s: %d %s", tc.name, a.status, a.raw)
		}
		if tried := strings.HasPrefix(strings.Join(tc.headers, " "), "Authorization"); a.status == 401 && tried && a.header.Get("WWW-Authenticate") == "" {
			t.Errorf("%s: no WWW-Authenticate", tc.name)
		}
	}
	for _, method := range []string{"GET", "PUT", "OPTIONS"} {
		r := httptest.NewRequestWithContext(t.Context(), method, scim.TokenPath+"?"+good().Encode(), nil)
		w := httptest.NewRecorder()
		h.TokenEndpoint().ServeHTTP(w, r)
		if w.Code != 405 || w.Header().Get("Allow") != "POST" {
			t.Errorf("%s: %d", method, w.Code)
		}
	}
	r := httptest.NewRequestWithContext(t.Context(), "POST", scim.TokenPath+"?client_secret="+secret, strings.NewReader(good().Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	w := httptest.NewRecorder()
	if h.TokenEndpoint().ServeHTTP(w, r); w.Code != 400 {
		t.Errorf("a secret in the query: %d", w.Code)
	}
	if a := s.oauth(h, good()); a.status != 200 {
		t.Errorf("benign: %d %s", a.status, a.raw)
	}
	s.now.Advance(2 * time.Hour)
	if a := s.oauth(h, good()); a.status != 401 {
		t.Errorf("an expired client: %d %s", a.status, a.raw)
	}
}

func TestC01AccessTokensCannotBeMadeUp(t *testing.T) {
	s := newServer(t)
	h := s.handler(func(o *scim.Options) { o.Now = s.now.Now })
	secret, client, err := scim.CreateClient(t.Context(), s.db, "okta", "x", "cli", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	token := s.oauth(h, url.Values{"grant_type": {"client_credentials"}, "client_id": {client.ID}, "client_secret": {secret}}).text("access_token")
	cursor := s.want(200, "GET", "/Users?cursor&count=0", "").text("nextCursor")
	forged := sealer(t).Seal([]byte(`{"c":"`+client.ID+`","e":99999999999}`), "another use of the key")
	for name, bad := range map[string]string{
		"cut": token[:len(token)-2], "longer": token + "AA", "prefix only": "ssogate_scim_access_", "cursor": "ssogate_scim_access_" + cursor,
		"sealed for another use": "ssogate_scim_access_" + base64.RawURLEncoding.EncodeToString(forged), "client id": client.ID, "secret": secret,
	} {
		s.token = bad
		if a := s.do("GET", "/Users", ""); a.status != 401 {
			t.Errorf("%s: %d", name, a.status)
		}
	}
	s.token = token
	s.want(200, "GET", "/Users", "")
}

func TestPausedConnectionsAnswer503AndLoseNothing(t *testing.T) {
	s := newServer(t)
	id := s.createUser("ana")
	if err := s.db.Pause(t.Context(), record.Pause{Connection: "okta", Since: s.now.Now(), Actor: "cli"}, audit.Event{Kind: "test"}); err != nil {
		t.Fatal(err)
	}
	off := patchBody(`{"op":"replace","path":"active","value":false}`)
	a := s.do("PATCH", "/Users/"+id, off)
	errorBody(t, a, 503, "")
	if a.header.Get("Retry-After") != "60" || !s.stored(id).Wish {
		t.Errorf("Retry-After %q, member %+v", a.header.Get("Retry-After"), s.stored(id))
	}
	s.token = tokenRole
	s.want(200, "GET", "/Users", "") // another connection goes on
	s.token = tokenOkta
	if err := s.db.Resume(t.Context(), "okta", audit.Event{Kind: "test"}); err != nil {
		t.Fatal(err)
	}
	s.want(200, "PATCH", "/Users/"+id, off)
}

func TestConnectionsNeedAnActiveSAMLProvider(t *testing.T) {
	s := newServer(t)
	was := s.live.Load()
	for name, providers := range map[string][]settings.Provider{
		"none": nil, "inactive": {{ID: "okta", Protocol: settings.SAML}}, "another protocol": {{ID: "okta", Protocol: settings.OIDC, Active: true}},
	} {
		now := *was
		now.Providers = providers
		s.live.Store(&now)
		a := s.do("GET", "/Users", "")
		errorBody(t, a, 503, "")
		if !strings.Contains(a.text("detail"), "provider") || a.header.Get("Retry-After") == "" {
			t.Errorf("%s: %s", name, a.raw)
		}
	}
	s.live.Store(was)
	s.want(200, "GET", "/Users", "")
}

func TestTheRateLimitIsAsConfigured(t *testing.T) {
	s := newServer(t)
	h := s.handler(func(o *scim.Options) {
		o.Rate, o.Burst = 1, 2
		start := s.now.Now()
		o.Now = func() time.Time { return start }
	})
	get := func(token string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), "GET", base+"/Users", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	for i, want := range []int{200, 200, 429, 429} {
		w := get(tokenOkta)
		if w.Code != want || want == 429 && w.Header().Get("Retry-After") != "1" {
			t.Errorf("request %d: %d, Retry-After %q", i, w.Code, w.Header().Get("Retry-After"))
		}
	}
	if w := get(tokenRole); w.Code != 200 {
		t.Errorf("another connection: %d", w.Code)
	}
}

func TestStrictConnectionsGetNoTolerance(t *testing.T) {
	s := newServer(t)
	now := *s.live.Load()
	now.Connections = append([]settings.Connection(nil), now.Connections...)
	now.Connections[0].Strict = true
	s.live.Store(&now)
	errorBody(t, s.do("POST", "/Users", `{"userName":"ana"}`), 400, "invalidSyntax")
	id := s.createUser("ana")
	errorBody(t, s.do("PATCH", "/Users/"+id, patchBody(`{"op":"Replace","path":"active","value":"False"}`)), 400, "invalidSyntax")
	s.want(200, "PATCH", "/Users/"+id, patchBody(`{"op":"replace","path":"active","value":false}`))
}
