package scim_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ssogate/ssogate/audit"
	"github.com/ssogate/ssogate/member"
	"github.com/ssogate/ssogate/scim"
	"github.com/ssogate/ssogate/scim/record"
	"github.com/ssogate/ssogate/scim/schema"
	"github.com/ssogate/ssogate/settings"
)

var errTest = errors.New("test failure with a secret detail")

func accept(m *member.Member) { m.Accepted = true }

func TestC01OnlyALiveTokenInTheHeaderPasses(t *testing.T) {
	s := newServer(t)
	made, stored, err := scim.CreateToken(t.Context(), s.db, "okta", "second", "cli", s.now.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	orphan, _, err := scim.CreateToken(t.Context(), s.db, "gone", "x", "cli", time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	s.token = made
	s.want(200, "GET", "/Users", "")
	s.want(200, "GET", "/Users", "", "Authorization", "bearer "+made) // RFC 7235: the scheme in any case
	list, err := s.db.ListTokens(t.Context(), "okta")
	if err != nil || len(list) != 1 || list[0].LastUsed.IsZero() {
		t.Fatalf("last use is not noted: %+v, %v", list, err)
	}

	s.token = ""
	refused := s.do("GET", "/Users", "")
	errorBody(t, refused, 401, "")
	if !strings.HasPrefix(refused.header.Get("WWW-Authenticate"), "Bearer") {
		t.Errorf("WWW-Authenticate %q", refused.header.Get("WWW-Authenticate"))
	}
	check := func(name string, a answer) {
		t.Helper()
		if a.status != 401 || a.raw != refused.raw || a.header.Get("WWW-Authenticate") != refused.header.Get("WWW-Authenticate") {
			t.Errorf("%s: got %d %s, want the uniform 401", name, a.status, a.raw)
		}
	}
	for _, h := range []string{
		"", "Bearer", "Bearer ", "Bearer wrong", "Basic " + made, "non-token", made, "Bearer " + made + "x", "Bearer " + made[:len(made)-1],
		"Bearer " + strings.ToUpper(made), "Bearer " + stored.Hash, "Bearer " + orphan, "Bearer ssogate_scim_" + strings.Repeat("A", 43),
		"Bearer " + strings.Repeat("A", 100_000), "Bearer " + made + "," + made,
	} {
		check("header "+h[:min(len(h), 40)], s.do("GET", "/Users", "", "Authorization", h))
	}
	for _, path := range []string{
		"/Users?access_token=" + made, "/Users?token=" + made, "/Users?Authorization=Bearer+" + made,
		// C09: every path looks the same from outside, existing or not.
		"/Users/1", "/Nothing", "/ServiceProviderConfig", "/Schemas", "/Bulk", "/Me",
		"/api/0/organizations/other/scim/v2/Users", "/api/0/organizations/", "/api/0/organizations/acme/scim/v1/Users",
	} {
		check(path, s.do("GET", path, ""))
		check("DELETE "+path, s.do("DELETE", path, ""))
	}
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.http.URL+base+"/Users", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header["Authorization"] = []string{"Bearer " + made, "Bearer " + made}
	res, err := s.http.Client().Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = res.Body.Close()
	if res.StatusCode != http.StatusUnauthorized {
		t.Errorf("two Authorization headers: got %d", res.StatusCode)
	}

	s.token = made
	s.now.Advance(2 * time.Hour)
	check("expired", s.do("GET", "/Users", ""))
	s.now.Advance(-2 * time.Hour)
	s.want(200, "GET", "/Users", "")
	if err := s.db.RevokeToken(t.Context(), stored.ID, audit.Event{Kind: "test"}); err != nil {
		t.Fatal(err)
	}
	within(t, time.Second, func() { check("revoked", s.do("GET", "/Users", "")) })

	if n := len(s.audit.events); n == 0 || n > 40 {
		t.Errorf("%d audit events: refusals are listed, and a flood of them is not", n)
	}
	for _, e := range s.audit.events {
		if e.Kind != "scim.refused" || e.Outcome != "denied" || e.Reason == "" {
			t.Errorf("event %+v", e)
		}
	}
	if strings.Contains(s.log.String(), made) {
		t.Error("the token is in the log")
	}
}

func TestTokenOfAnotherConnectionSeesNothingC09(t *testing.T) {
	s := newServer(t)
	id := s.createUser("ana")
	s.token = tokenRole
	missing := s.do("GET", "/Users/0123456789abcdef", "")
	errorBody(t, missing, 404, "")
	for name, a := range map[string]answer{
		"get": s.do("GET", "/Users/"+id, ""), "put": s.do("PUT", "/Users/"+id, `{"userName":"x"}`), "delete": s.do("DELETE", "/Users/"+id, ""),
		"patch":      s.do("PATCH", "/Users/"+id, patchBody(`{"op":"replace","path":"active","value":false}`)),
		"sequential": s.do("GET", "/Users/1", ""), "odd": s.do("GET", "/Users/%2e%2e", ""), "encoded": s.do("GET", "/Users/"+"%00", ""),
		"long": s.do("GET", "/Users/"+strings.Repeat("a", 5000), ""), "quote": s.do("GET", "/Users/a'b", ""),
	} {
		if a.status != 404 || a.raw != missing.raw {
			t.Errorf("%s: got %d %s, want exactly %s", name, a.status, a.raw, missing.raw)
		}
	}
	if a := s.want(200, "GET", "/Users", ""); a.get("totalResults") != 0.0 {
		t.Errorf("listed: %s", a.raw)
	}
	if !s.stored(id).Wish {
		t.Error("changed by another connection")
	}
}

func TestCreateTokenRefuses(t *testing.T) {
	s := newServer(t)
	for _, tc := range []struct{ conn, name string }{{"", "x"}, {"okta", ""}, {"okta", "a\nb"}, {"okta", strings.Repeat("x", 101)}} {
		if _, _, err := scim.CreateToken(t.Context(), s.db, tc.conn, tc.name, "cli", time.Time{}); !errors.Is(err, scim.ErrInvalidToken) {
			t.Errorf("%+v: got %v", tc, err)
		}
	}
	if _, _, err := scim.CreateToken(t.Context(), s.db, "okta", "x", "cli", time.Now().Add(-time.Second)); !errors.Is(err, scim.ErrInvalidToken) {
		t.Errorf("past expiry: got %v", err)
	}
}

func TestRoutes(t *testing.T) {
	s := newServer(t)
	id := s.createUser("ana")
	for _, tc := range []struct {
		method, path string
		status       int
		allow        string
	}{
		{"GET", "/Users/", 200, ""},
		{"GET", "//Users", 200, ""},
		{"GET", "/Users/" + id + "/", 200, ""},
		{"GET", "/Users/" + id + "?", 200, ""}, // T15
		{"GET", "/Users?aadOptscim062020", 200, ""},
		{"GET", "/Users?foo=bar&sortBy=userName", 200, ""}, // T18
		{"GET", "/Nothing", 404, ""},
		{"GET", "/users", 404, ""},
		{"GET", "", 200, ""}, // RFC 7644 section 3.4.2.1: a query of the root
		{"GET", "/Users/" + id + "/x", 404, ""},
		{"GET", "/api/0/organizations/other/scim/v2/Users", 404, ""},
		{"GET", "/api/0/organizations/acme/scim/v1/Users", 404, ""},
		{"GET", "/Schemas/urn:nothing", 404, ""},
		{"GET", "/ResourceTypes/Nothing", 404, ""},
		{"DELETE", "/Users", 405, "GET, POST"},
		{"POST", "/Users/" + id, 405, "GET, PUT, PATCH, DELETE"},
		{"HEAD", "/Users", 405, "GET, POST"},
		{"OPTIONS", "/Users", 405, "GET, POST"},
		{"POST", "/Schemas", 405, "GET"},
		{"PUT", "/ServiceProviderConfig", 405, "GET"},
		{"PATCH", "/ResourceTypes/User", 405, "GET"},
		{"GET", "/Bulk", 405, "POST"},
		{"TRACE", "/Users", 405, "GET, POST"},
		{"GET", "/Me", 501, ""},
		{"DELETE", "/Me", 501, ""},
		{"GET", "/.search", 405, "POST"},
		{"POST", "/", 405, "GET"},
		{"PUT", "", 405, "GET"},
		{"GET", "/Users/.search", 405, "POST"},
		{"PATCH", "/Groups/.search", 405, "POST"},
		{"GET", "/Schemas?filter=id+eq+%22x%22", 403, ""},
		{"GET", "/ResourceTypes?filter=x", 403, ""},
	} {
		a := s.do(tc.method, tc.path, "")
		if tc.method == "HEAD" {
			if a.status != tc.status {
				t.Errorf("HEAD %s: got %d", tc.path, a.status)
			}
			continue
		}
		if a.status != tc.status || a.header.Get("Allow") != tc.allow {
			t.Errorf("%s %s: got %d, Allow %q; want %d, %q", tc.method, tc.path, a.status, a.header.Get("Allow"), tc.status, tc.allow)
			continue
		}
		if tc.status >= 400 {
			errorBody(t, a, tc.status, "")
		}
	}
}

func TestDiscovery(t *testing.T) {
	s := newServer(t)
	a := s.want(200, "GET", "/ServiceProviderConfig", "")
	for _, path := range [][]any{
		{"patch", "supported"},
		{"filter", "supported"},
		{"etag", "supported"},
		{"bulk", "supported"},
		{"sort", "supported"},
		{"pagination", "cursor"},
		{"pagination", "index"},
	} {
		if a.get(path...) != true {
			t.Errorf("%v is not true", path)
		}
	}
	for _, path := range [][]any{{"changePassword", "supported"}} {
		if a.get(path...) != false {
			t.Errorf("%v is not false", path)
		}
	}
	if a.get("bulk", "maxOperations") != 1000.0 || a.get("bulk", "maxPayloadSize") != float64(scim.MaxBody) ||
		a.text("pagination", "defaultPaginationMethod") != "index" || a.get("pagination", "cursorTimeout") != 3600.0 || a.get("filter", "maxResults") != 1000.0 ||
		a.text("authenticationSchemes", 0, "type") != "oauthbearertoken" || a.get("documentationUri") != nil {
		t.Errorf("SPC: %s", a.raw)
	}
	a = s.want(200, "GET", "/Schemas", "")
	if a.get("totalResults") != 4.0 || a.text("schemas", 0) != "urn:ietf:params:scim:api:messages:2.0:ListResponse" {
		t.Errorf("Schemas: %.200s", a.raw)
	}
	for _, urn := range []string{schema.UserURN, schema.GroupURN, schema.EnterpriseURN, schema.MemberURN} {
		if a := s.want(200, "GET", "/Schemas/"+urn, ""); a.text("id") != urn || a.text("meta", "location") != "https://sso.example.com"+base+"/Schemas/"+urn {
			t.Errorf("schema %s: %.200s", urn, a.raw)
		}
	}
	a = s.want(200, "GET", "/ResourceTypes", "")
	if a.text("Resources", 0, "endpoint") != "/Users" || a.text("Resources", 0, "schemaExtensions", 0, "schema") != schema.EnterpriseURN || a.text("Resources", 1, "schema") != schema.GroupURN {
		t.Errorf("ResourceTypes: %s", a.raw)
	}
	s.want(200, "GET", "/ResourceTypes/User", "")
}

func TestMediaTypes(t *testing.T) {
	s := newServer(t)
	for in, want := range map[string]string{"": "application/scim+json", "*/*": "application/scim+json", "application/json": "application/json"} {
		if got := s.do("GET", "/Users", "", "Accept", in).header.Get("Content-Type"); got != want {
			t.Errorf("Accept %q: got %q, want %q", in, got, want)
		}
	}
	for i, ct := range []string{"", "application/json", "application/scim+json; charset=utf-8", "APPLICATION/JSON"} {
		s.want(201, "POST", "/Users", `{"userName":"u`+itoa(i)+`"}`, "Content-Type", ct)
	}
	for _, ct := range []string{"text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "nonsense/"} {
		errorBody(t, s.do("POST", "/Users", `{"userName":"x"}`, "Content-Type", ct), 415, "")
	}
	a := s.want(200, "GET", "/Users", "")
	if a.header.Get("Cache-Control") != "no-store" || a.header.Get("X-Content-Type-Options") != "nosniff" {
		t.Errorf("headers %v", a.header)
	}
}

func TestC06BodiesAreBounded(t *testing.T) {
	s := newServer(t)
	pad := strings.Repeat("x", 17<<20)
	for name, body := range map[string]io.Reader{
		"declared length": strings.NewReader(`{"userName":"` + pad + `"}`),
		"chunked":         io.MultiReader(strings.NewReader(`{"userName":"`), strings.NewReader(pad), strings.NewReader(`"}`)),
	} {
		a := s.send("POST", "/Users", body)
		errorBody(t, a, 413, "")
		if !strings.Contains(a.text("detail"), "16777216") {
			t.Errorf("%s: the limit is not named: %s", name, a.raw)
		}
	}
	for name, body := range map[string]string{
		"depth 10k": `{"userName":` + strings.Repeat(`[`, 10_000), "duplicate keys": `{"userName":"a","userName":"b"}`, "1e400": `{"userName":"a","x":1e400}`,
		"bad UTF-8": "{\"userName\":\"\xff\"}", "empty": "", "array": "[]", "text": "hello", "NUL": `{"userName":"a\u0000"}`,
	} {
		a := s.do("POST", "/Users", body)
		errorBody(t, a, 400, "invalidSyntax")
		if a := s.do("PATCH", "/Users/x", body); a.status != 400 {
			t.Errorf("PATCH %s: got %d", name, a.status)
		}
	}
	a := s.do("POST", "/Users", `{"userName":"a","roles":[`+strings.Repeat(`{"value":"`+strings.Repeat("x", 1000)+`"},`, 100)+`{"value":"y"}]}`)
	errorBody(t, a, 400, "invalidValue")
	if a := s.want(200, "GET", "/Users", ""); a.get("totalResults") != 0.0 {
		t.Fatalf("something was stored: %s", a.raw)
	}
	s.want(201, "POST", "/Users", `{"userName":"a","title":"`+strings.Repeat("x", 10_000)+`"}`) // benign twin: long, not too long
}

func TestC05FiltersAreBounded(t *testing.T) {
	s := newServer(t)
	s.createUser("ana")
	q := func(f string) string { return "/Users?filter=" + escape(f) }
	if a := s.want(200, "GET", q(`userName eq "\u0061na"`), ""); a.get("totalResults") != 1.0 {
		t.Fatalf("benign escape: %s", a.raw)
	}
	for name, f := range map[string]string{
		"10k parens": strings.Repeat("(", 10_000), "50k nots": strings.Repeat("not (", 50_000), "unterminated": `userName eq "x`,
		"bad escape": `userName eq "\x61"`, "escaped NUL": `userName eq "a\u0000"`, "NUL": "userName eq \"a\x00\"", "unknown attribute": `isAdmin eq true`,
		"SQL": `userName eq "a" or 1=1 --`, "boolean order": `active gt true`, "secret": `password eq "x"`, "bad UTF-8": "userName eq \"\xff\"", "unknown op": `userName is "x"`,
	} {
		var a answer
		within(t, 500*time.Millisecond, func() { a = s.do("GET", q(f), "") })
		errorBody(t, a, 400, "invalidFilter")
		if a.text("detail") == "" {
			t.Errorf("%s: no detail", name)
		}
	}
	for _, f := range []string{`userName co "%"`, `userName sw "_na"`, `userName eq "' OR '1'='1"`, `displayName co "\\"`, `externalId eq "a'; drop table members; --"`} {
		if a := s.want(200, "GET", q(f), ""); a.get("totalResults") != 0.0 {
			t.Errorf("%s: not bound or escaped: %s", f, a.raw)
		}
	}
}

func escape(s string) string {
	var b strings.Builder
	for i := range len(s) {
		b.WriteString("%" + string("0123456789ABCDEF"[s[i]>>4]) + string("0123456789ABCDEF"[s[i]&15]))
	}
	return b.String()
}

func TestC11HostileValuesStayData(t *testing.T) {
	s := newServer(t)
	for _, v := range []string{`=cmd|' /C calc'!A0`, "a\\nb", "a\\u001b[31mb", "x\\r\\nSet-Cookie: a=b", `<script>alert(1)</script>`, "\\u202eabc"} {
		a := s.want(201, "POST", "/Users", `{"userName":"u-`+itoa(len(v))+itoa(int(v[1]))+`","displayName":"`+strings.ReplaceAll(v, `"`, `\"`)+`","externalId":"e"}`)
		if a.header.Get("Set-Cookie") != "" || strings.Contains(a.raw, "<script>") {
			t.Errorf("%s: %v %s", v, a.header, a.raw)
		}
		if name := s.stored(a.text("id")).DisplayName; strings.ContainsAny(name, "\n\r\x1b\u202e") {
			t.Errorf("%s is stored as %q", v, name)
		}
	}
	for _, id := range []string{"a%0d%0aX:%20y", "a%1b[31m"} {
		errorBody(t, s.do("GET", "/Users/"+id, ""), 404, "")
	}
	errorBody(t, s.do("POST", "/Users", `{"userName":"a\u001b[31mb"}`), 400, "invalidValue")
	if strings.ContainsAny(s.log.String(), "\x1b\r") {
		t.Errorf("control characters in the log: %q", s.log)
	}
}

func TestRateLimitIsPerConnection(t *testing.T) {
	s := newServer(t)
	frozen := time.Now()
	h := s.handler(func(o *scim.Options) { o.Now = func() time.Time { return frozen } })
	call := func(token string) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), "GET", base+"/ServiceProviderConfig", nil)
		r.Header.Set("Authorization", "Bearer "+token)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w
	}
	for i := range 500 {
		if w := call(tokenOkta); w.Code != 200 {
			t.Fatalf("request %d of a burst of 500: got %d", i, w.Code)
		}
	}
	w := call(tokenOkta)
	if w.Code != 429 || w.Header().Get("Retry-After") != "1" || !strings.Contains(w.Body.String(), scim.ErrorURN) {
		t.Fatalf("got %d, Retry-After %q", w.Code, w.Header().Get("Retry-After"))
	}
	if w := call(tokenRole); w.Code != 200 {
		t.Fatalf("another connection is held back: %d", w.Code)
	}
	frozen = frozen.Add(time.Second)
	if w := call(tokenOkta); w.Code != 200 {
		t.Fatalf("after a second: %d", w.Code)
	}
}

func TestPausedConnectionAnswers503(t *testing.T) {
	s := newServer(t)
	id := s.createUser("ana")
	old := s.live.Load()
	paused := *old
	paused.Connections = slices.Clone(old.Connections)
	paused.Connections[0].Paused = true
	s.live.Store(&paused)
	a := s.do("DELETE", "/Users/"+id, "")
	errorBody(t, a, 503, "")
	if a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
	s.live.Store(old)
	s.want(200, "GET", "/Users/"+id, "")
	s.live.Store(&settings.Settings{})
	if a := s.do("GET", "/Users/"+id, ""); a.status != 401 {
		t.Errorf("a removed connection's token: got %d", a.status)
	}
}

// pausesUnknown is a store that finds tokens and cannot say who is paused.
type pausesUnknown struct{ scim.Access }

func (pausesUnknown) Paused(context.Context, string) (record.Pause, error) {
	return record.Pause{}, errTest
}

// TestWhetherAConnectionIsPausedIsNeverGuessed: with no answer from the store nothing
// is provisioned, as if it were (rule: unknown is no).
func TestWhetherAConnectionIsPausedIsNeverGuessed(t *testing.T) {
	s := newServer(t)
	id := s.createUser("ana")
	remove := func(edit func(*scim.Options)) *httptest.ResponseRecorder {
		r := httptest.NewRequestWithContext(t.Context(), "DELETE", base+"/Users/"+id, nil)
		r.Header.Set("Authorization", "Bearer "+tokenOkta)
		w := httptest.NewRecorder()
		s.handler(edit).ServeHTTP(w, r)
		return w
	}
	if w := remove(func(o *scim.Options) { o.Access = pausesUnknown{s.db} }); w.Code != 503 || w.Header().Get("Retry-After") == "" {
		t.Errorf("got %d %s", w.Code, w.Body)
	}
	s.want(200, "GET", "/Users/"+id, "")
	if w := remove(func(*scim.Options) {}); w.Code != 204 {
		t.Errorf("a store that answers: got %d %s", w.Code, w.Body)
	}
}

// handler makes another handler over the same store.
func (s *server) handler(edit func(*scim.Options)) *scim.Handler {
	s.t.Helper()
	o := scim.Options{
		BaseURL: "https://sso.example.com", Org: "acme", Members: s.dir, Teams: s.dir,
		Searcher: s.db, Access: s.db, Live: s.live, Audit: s.audit, Sealer: sealer(s.t),
	}
	edit(&o)
	h, err := scim.New(o)
	if err != nil {
		s.t.Fatal(err)
	}
	return h
}

// broken is a directory whose store is down, or worse.
type broken struct {
	scim.Members
	do func() error
}

func (b broken) Get(context.Context, member.Connection, member.ID) (member.Member, []member.Team, error) {
	return member.Member{}, nil, b.do()
}

func TestFailuresAreAnsweredInSCIMShape(t *testing.T) {
	s := newServer(t)
	for _, tc := range []struct {
		name   string
		do     func() error
		status int
	}{
		{"store down", func() error { return errTest }, 503},
		{"deadline", func() error { return context.DeadlineExceeded }, 503},
		// Fault 25; its text must not reach the client, who may be an attacker (L01).
		{"panic", func() error { panic("boom with a secret detail") }, 500},
	} {
		h := s.handler(func(o *scim.Options) { o.Members = broken{do: tc.do} })
		r := httptest.NewRequestWithContext(t.Context(), "GET", base+"/Users/abc", nil)
		r.Header.Set("Authorization", "Bearer "+tokenOkta)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code != tc.status || !strings.Contains(w.Body.String(), scim.ErrorURN) || strings.Contains(w.Body.String(), "secret detail") {
			t.Errorf("%s: got %d %s", tc.name, w.Code, w.Body)
		}
		if tc.status == 503 && w.Header().Get("Retry-After") != "5" {
			t.Errorf("%s: Retry-After %q", tc.name, w.Header().Get("Retry-After"))
		}
	}
}

func TestNewRefusesIncompleteOptions(t *testing.T) {
	s := newServer(t)
	for name, edit := range map[string]func(*scim.Options){
		"no URL": func(o *scim.Options) { o.BaseURL = "" }, "URL with path": func(o *scim.Options) { o.BaseURL = "https://x/y" },
		"no org": func(o *scim.Options) { o.Org = "" }, "org with slash": func(o *scim.Options) { o.Org = "a/b" },
		"no members": func(o *scim.Options) { o.Members = nil }, "no live": func(o *scim.Options) { o.Live = nil }, "no sealer": func(o *scim.Options) { o.Sealer = nil },
	} {
		o := scim.Options{BaseURL: "https://x", Org: "a", Members: s.dir, Teams: s.dir, Searcher: s.db, Access: s.db, Live: s.live, Audit: s.audit, Sealer: sealer(t)}
		if _, err := scim.New(o); err != nil {
			t.Fatalf("benign: %v", err)
		}
		edit(&o)
		if _, err := scim.New(o); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
}

func FuzzRequest(f *testing.F) {
	f.Add("POST", "/Users", "", `{"userName":"a"}`)
	f.Add("GET", "/Users", "filter=userName+eq+%22a%22&count=1&startIndex=0", "")
	f.Add("PATCH", "/Groups/x", "attributes=id", patchBody(`{"op":"remove","path":"members"}`))
	f.Add("PUT", "//Users/%00/", "excludedAttributes=a,b", `{"userName":null}`)
	f.Add("GET", "/", "filter=meta.resourceType+eq+%22Group%22&sortBy=displayName&sortOrder=descending&cursor", "")
	f.Add("POST", "/.search", "", `{"filter":"userName pr or displayName pr","cursor":"AAAA","count":2}`)
	f.Add("POST", "/Bulk", "", `{"failOnErrors":1,"Operations":[{"method":"POST","path":"/Users","bulkId":"a","data":{"userName":"a"}},
		{"method":"PATCH","path":"/Users/bulkId:a","version":"W/\"1\"","data":{"Operations":[{"op":"add","path":"title","value":"bulkId:a"}]}}]}`)
	h, err := scim.New(scim.Options{
		BaseURL: "https://sso.example.com", Org: "acme", Members: nowhere{}, Teams: nowhere{}, Searcher: nowhere{}, Access: nowhere{},
		Live: liveOkta(), Audit: &recorder{}, Sealer: sealer(f), Now: unlimited(),
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, method, path, query, body string) {
		r := httptest.NewRequestWithContext(t.Context(), "GET", base, strings.NewReader(body))
		r.Method, r.URL.Path, r.URL.RawQuery = method, base+path, query
		r.Header.Set("Authorization", "Bearer "+tokenOkta)
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		if w.Code >= 500 && w.Code != 501 {
			t.Fatalf("%q %q %q %q: %d %s", method, path, query, body, w.Code, w.Body)
		}
	})
}
