package config

import (
	"fmt"
	"strings"
	"testing"
)

func TestIdentityAndLogoutOfARoute(t *testing.T) {
	one := func(h IdentityHeader) func(*Route) {
		return func(r *Route) { r.Identity.Headers = []IdentityHeader{h} }
	}
	for _, tc := range []struct {
		name, key string // below routes[1]; "" is accepted
		change    func(*Route)
	}{
		{"everything", "", func(r *Route) {
			r.Identity = Identity{
				Headers: []IdentityHeader{
					{Name: "X-Forwarded-User", Value: "{id}"},
					{Name: "REMOTE_USER", Value: `CORP\{user_name}`, Encoding: "plain"},
					{Name: "X-Person", Value: "{given_name} {family_name} {teams} {role} {provider} {email} {name}", Encoding: "rfc8187"},
				},
				Assertion: Assertion{Algorithm: "RS256", Header: "X-Token", Audience: "urn:app"},
				Basic:     IdentityBasic{User: "{user_name}", Password: "secret"},
				Cookie:    IdentityCookie{Name: "APPUSER", Value: "{id}", Encoding: "base64"},
			}
			r.Logout = Logout{Path: "/api/logout", URL: "https://api.internal:9000/logout?all=1"}
		}},
		{"bearer", "", func(r *Route) { r.Identity.Bearer = "abc.def-_~+/=" }},
		{"framing", "identity.headers[0].name", one(IdentityHeader{Name: "Content-Length", Value: "{id}"})},
		{"the host", "identity.headers[0].name", one(IdentityHeader{Name: "host", Value: "{id}"})},
		{"hop-by-hop", "identity.headers[0].name", one(IdentityHeader{Name: "Connection", Value: "{id}"})},
		{"cookies", "identity.headers[0].name", one(IdentityHeader{Name: "Cookie", Value: "{id}"})},
		{"credentials", "identity.headers[0].name", one(IdentityHeader{Name: "Authorization", Value: "{id}"})},
		{"a client's address", "identity.headers[0].name", one(IdentityHeader{Name: "X_Forwarded_For", Value: "{id}"})},
		{"no name", "identity.headers[0].name", one(IdentityHeader{Value: "{id}"})},
		{"an unknown field", "identity.headers[0].value", one(IdentityHeader{Name: "X-User", Value: "{mail}"})},
		{"an expression", "identity.headers[0].value", one(IdentityHeader{Name: "X-User", Value: "{email|lower}"})},
		{"no value", "identity.headers[0].value", one(IdentityHeader{Name: "X-User"})},
		{"X-Forwarded-User is an address", "identity.headers[0].value", one(IdentityHeader{Name: "x-forwarded-user", Value: "{email}"})},
		{"an unknown encoding", "identity.headers[0].encoding", one(IdentityHeader{Name: "X-User", Value: "{id}", Encoding: "utf-8"})},
		{"twice", "identity.headers[1].name", func(r *Route) {
			r.Identity.Headers = []IdentityHeader{{Name: "X-User", Value: "{id}"}, {Name: "x_user", Value: "{email}"}}
		}},
		{"twice, with the assertion", "identity.assertion.header", func(r *Route) {
			r.Identity.Headers = []IdentityHeader{{Name: "X-Ssogate-Assertion", Value: "{id}"}}
			r.Identity.Assertion.Algorithm = "ES256"
		}},
		{"too many", "identity.headers", func(r *Route) {
			for i := range 33 {
				r.Identity.Headers = append(r.Identity.Headers, IdentityHeader{Name: fmt.Sprintf("X-User-%d", i), Value: "{id}"})
			}
		}},
		{"no algorithm", "identity.assertion.algorithm", func(r *Route) { r.Identity.Assertion.Header = "X-Token" }},
		{"HMAC", "identity.assertion.algorithm", func(r *Route) { r.Identity.Assertion.Algorithm = "HS256" }},
		{"none", "identity.assertion.algorithm", func(r *Route) { r.Identity.Assertion.Algorithm = "none" }},
		{"the token as credentials", "identity.assertion.header", func(r *Route) { r.Identity.Assertion = Assertion{Algorithm: "ES256", Header: "Authorization"} }},
		{"audience", "identity.assertion.audience", func(r *Route) { r.Identity.Assertion = Assertion{Algorithm: "ES256", Audience: "a b"} }},
		{"no password", "identity.basic.password", func(r *Route) { r.Identity.Basic.User = "{id}" }},
		{"password of two lines", "identity.basic.password", func(r *Route) { r.Identity.Basic = IdentityBasic{User: "{id}", Password: "a\nb"} }},
		{"no user", "identity.basic.user", func(r *Route) { r.Identity.Basic.Password = "x" }},
		{"two credentials", "identity.basic", func(r *Route) {
			r.Identity.Basic, r.Identity.Bearer = IdentityBasic{User: "{id}", Password: "x"}, "y"
		}},
		{"credentials that pass and are replaced", "authorization", func(r *Route) { r.Identity.Bearer, r.Authorization = "abc", "pass" }},
		{"bearer with a space", "identity.bearer", func(r *Route) { r.Identity.Bearer = "a b" }},
		{"our cookie", "identity.cookie.name", func(r *Route) {
			r.Identity.Cookie = IdentityCookie{Name: "__Host-ssogate-app-session", Value: "{id}"}
		}},
		{"cookie without value", "identity.cookie.value", func(r *Route) { r.Identity.Cookie.Name = "user" }},
		{"cookie encoding", "identity.cookie.encoding", func(r *Route) {
			r.Identity.Cookie = IdentityCookie{Name: "user", Value: "{id}", Encoding: "rfc8187"}
		}},
		{"logout elsewhere", "logout.path", func(r *Route) { r.Logout.Path = "/logout" }},
		{"logout in two spellings", "logout.path", func(r *Route) { r.Logout.Path = "/api//logout" }},
		{"our logout", "logout.path", func(r *Route) { r.PathPrefix, r.Logout.Path = "/", "/.sso/logout" }},
		{"nobody to call as", "logout.url", func(r *Route) { r.Logout.URL = "https://api.internal/logout" }},
		{"no URL", "logout.url", func(r *Route) { r.Identity.Assertion.Algorithm, r.Logout.URL = "ES256", "/logout" }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := benign()
			tc.change(&c.Routes[1])
			fs := c.Validate()
			if tc.key == "" && len(fs) > 0 || tc.key != "" && !has(fs, "routes[1]."+tc.key) {
				t.Errorf("%v", fs)
			}
			for _, f := range fs {
				if f.Problem == "" || f.Fix == "" {
					t.Errorf("fault without problem or fix: %+v", f)
				}
			}
		})
	}
}

func TestIdentitySecretsComeFromFilesAndNeverPrint(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "app.password", "hunter2p\n")
	write(t, dir, "app.token", "hunter2t\n")
	text := strings.Replace(minimal(), "routes:", `routes:
  - name: "legacy"
    origins: ["https://legacy.example.com"]
    upstream: "http://127.0.0.1:1"
    identity: {basic: {user: "{user_name}", password_file: "app.password"}}
  - name: "other"
    origins: ["https://other.example.com"]
    upstream: "http://127.0.0.1:2"
    identity: {bearer_file: "app.token"}`, 1)
	c := mustLoad(t, write(t, dir, "c.yaml", text))
	basic, bearer := c.Routes[0].Identity.Basic, c.Routes[1].Identity
	if basic.Password != "hunter2p" || basic.PasswordFile != "" || bearer.Bearer != "hunter2t" {
		t.Fatalf("%q %q", basic.Password, bearer.Bearer)
	}
	all := c.String()
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		for _, v := range []any{c, *c, c.Routes, c.Routes[0], bearer, basic} {
			all += fmt.Sprintf(verb, v)
		}
	}
	if strings.Contains(all, "hunter2") {
		t.Error("U05: a secret was printed")
	}
}
