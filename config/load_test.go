package config

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

// minimal is the least that loads.
func minimal() string {
	return `url: https://sso.example.com
secrets:
  cookie_key: ` + newKey(CookieKeySize) + `
  seal_key: ` + newKey(SealKeySize) + `
routes:
  - name: app
    origins: ["https://app.example.com"]
    upstream: http://127.0.0.1:3000
`
}

func mustLoad(t *testing.T, path string, env ...string) *Config {
	t.Helper()
	c, err := Load(path, env)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestLoadFillsDefaults(t *testing.T) {
	dir := t.TempDir()
	c := mustLoad(t, write(t, dir, "ssogate.yaml", minimal()))
	want := Default()
	if c.Session != want.Session || c.Streams != want.Streams || c.Limits != want.Limits || c.Log != want.Log {
		t.Errorf("defaults are missing: %s", c)
	}
	if c.Listen != "127.0.0.1:8081" || c.PrivateListen != "127.0.0.1:9090" || c.RequireSSO != RequireSSOConsole || c.Routes[0].PathPrefix != "/" {
		t.Errorf("derived defaults are missing: %s", c)
	}
	if c.Database.URL != "sqlite:"+filepath.Join(dir, "ssogate.db") {
		t.Errorf("the database is not beside the config: %s", c.Database.URL)
	}
}

func TestDefaultsThatDependOnOtherKeys(t *testing.T) {
	c := benign()
	c.Listen, c.TLS = "", TLS{CertFile: "/c", KeyFile: "/k"}
	c.ApplyDefaults()
	if c.Listen != ":8443" {
		t.Errorf("with TLS the default listener is :8443, got %s", c.Listen)
	}
	for i, want := range []string{JoinSCIM, JoinInvitation, JoinIDP} {
		if c.Providers[i].Join != want {
			t.Errorf("join of %s is %s, want %s", c.Providers[i].ID, c.Providers[i].Join, want)
		}
	}
	if !slices.Equal(c.Providers[1].Scopes, []string{"openid", "profile", "email"}) || c.SCIM.Connections[0].Match != MatchUserName {
		t.Errorf("defaults of list elements are missing: %s", c)
	}
}

// TestStrictReading: everything that a lenient reader would turn into a silent
// default or another meaning.
func TestStrictReading(t *testing.T) {
	for _, tc := range []struct {
		name, text, key, fix, why string
	}{
		{"typo", "sesion: {idle: 8h}", "sesion", "did you mean session?", "the limit would not be in force"},
		{"typo in a list", "routes: [{name: a, upsteam: x}]", "routes[0].upsteam", "did you mean routes[0].upstream?", ""},
		{"wrong place", "cookie_key: x", "cookie_key", "did you mean secrets.cookie_key?", ""},
		{"dash", "require-sso: \"on\"", "require-sso", "did you mean require_sso?", ""},
		{"upper case", "URL: https://a", "URL", "did you mean url?", "viper would merge it with url"},
		{"dotted key", "session.idle: 8h", "session.idle", "session: and below it idle:", "viper would read it as nested"},
		{"bare duration", "session: {idle: 90}", "session.idle", "unit", "viper reads 90 ns"},
		{"bare float duration", "session: {idle: 1.5}", "session.idle", "unit", ""},
		{"quoted bare duration", `session: {idle: "90"}`, "session.idle", "unit", ""},
		{"zero duration", `session: {idle: "0s"}`, "session.idle", "choose from", "0 is not the default"},
		{"written zero", "streams: {total: 0}", "streams.total", "choose from", "0 is not the default"},
		{"days", `session: {idle: "7d"}`, "session.idle", "168h", ""},
		{"octal", "streams: {total: 0o777}", "streams.total", "decimal", ""},
		{"underscore", "streams: {total: 20_000}", "streams.total", "decimal", ""},
		{"yes", "insecure_plain_http: yes", "insecure_plain_http", "true or false", "YAML 1.1 and 1.2 differ"},
		{"quoted true", `insecure_plain_http: "True"`, "insecure_plain_http", "true or false", ""},
		{"true for text", "require_sso: true", "require_sso", "quotes", ""},
		{"number for text", "organization: {slug: 007}", "organization.slug", "quotes", "0123 is an octal number to YAML"},
		{"date for text", "organization: {name: 2026-01-01}", "organization.name", "quotes", ""},
		{"nothing", "redis:", "redis", "remove the line", "an empty key is forgotten, not chosen"},
		{"null", "listen: ~", "listen", "remove the line", ""},
		{"map for list", "routes: {app: {upstream: x}}", "routes", "- ", "ids as keys lose case and order"},
		{"text for list", "trusted_proxies: 10.0.0.0/8", "trusted_proxies", "- ", ""},
		{"list for text", "url: [a]", "url", "", ""},
		{"text for struct", "session: 8h", "session", "under session:", ""},
		{"list in list", "trusted_proxies: [[a]]", "trusted_proxies[0]", "", ""},
		{"text in list of structs", "routes: [app]", "routes[0]", "", ""},
		{"number in list", "trusted_proxies: [10]", "trusted_proxies[0]", "quotes", ""},
		{"twice", "listen: \":1\"\nlisten: \":2\"", "listen", "keep one", "readers differ in which wins"},
		{"twice nested", "session: {idle: 8h, idle: 9h}", "session.idle", "keep one", ""},
		{"alias", "listen: &a \":1\"\nprivate_listen: *a", "private_listen", "write the value out", "a bomb, or a surprise"},
		{"merge key", "session: {<<: {idle: 1h}}", "session.<<", "", ""},
		{"tag", "listen: !!str 1", "listen", "!", ""},
		{"binary tag", "listen: !!binary aGk=", "listen", "!", ""},
		{"two documents", "listen: \":1\"\n---\nlisten: \":2\"", "", "second", "which one counts?"},
		{"not YAML", "a: [", "", "indentation", ""},
		{"tab", "session:\n\tidle: 8h", "", "tabs", ""},
		{"a list at the top", "- a", "", "config.example.yaml", ""},
		{"a word", "hello", "", "config.example.yaml", ""},
		{"control character", "listen: \"a\\u0007\"", "listen", "invisible", "it would drive a terminal"},
		{"line break", "listen: \"a\\nb\"", "listen", "line breaks", "a header or log line could be split"},
		{"long value", "listen: " + strings.Repeat("a", 20<<10), "listen", "shorten", ""},
		{"complex key", "? [a]\n: b", "", "write keys", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fs := faultsOf(t, write(t, t.TempDir(), "c.yaml", tc.text))
			i := slices.IndexFunc(fs, func(f Fault) bool { return f.Key == tc.key && strings.Contains(f.Fix, tc.fix) })
			if i < 0 {
				t.Fatalf("no fault of %q with fix %q (%s): %v", tc.key, tc.fix, tc.why, fs)
			}
			if tc.key != "" && !strings.HasPrefix(fs[i].Source, "c.yaml:") {
				t.Errorf("the fault does not say where: %v", fs[i])
			}
		})
	}
}

func TestStrictReadingAcceptsItsBenignTwins(t *testing.T) {
	c := mustLoad(t, write(t, t.TempDir(), "c.yaml", minimal()+`
require_sso: on
insecure_plain_http: false
trusted_proxies: ["10.0.0.0/8"]
session: {idle: 90m, absolute: 12h, per_member: 3}
node: {name: "gate-1"}
limits: {header_bytes: 128KiB, upstream_dial: 1500ms}
streams: {total: 300}
organization: {slug: "007", name: "Zoë & Söhne"}
`))
	if c.RequireSSO != "on" || c.Session.Idle != 90*time.Minute || c.Session.PerMember != 3 || c.Node.Name != "gate-1" || c.Limits.HeaderBytes != 128<<10 ||
		c.Limits.UpstreamDial != 1500*time.Millisecond || c.Streams.Total != 300 || c.Organization.Slug != "007" || c.Organization.Name != "Zoë & Söhne" {
		t.Errorf("read wrongly: %s", c)
	}
}

func TestFaultsNameFileAndLine(t *testing.T) {
	fs := faultsOf(t, write(t, t.TempDir(), "ssogate.yaml", strings.Replace(minimal(), "http://127.0.0.1:3000", "nowhere", 1)))
	if len(fs) != 1 || fs[0].Key != "routes[0].upstream" || fs[0].Source != "ssogate.yaml:8" {
		t.Fatalf("got %v", fs)
	}
}

func TestRefusedValueIsBlamedOnce(t *testing.T) {
	fs := faultsOf(t, write(t, t.TempDir(), "c.yaml", strings.Replace(minimal(), "url: https://sso.example.com", "url: [x]", 1)))
	if len(fs) != 1 || fs[0].Key != "url" {
		t.Fatalf("want one fault about url, got %v", fs)
	}
}

func TestFileThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	big := write(t, dir, "big.yaml", strings.Repeat("# comment\n", maxFile/10+1))
	for name, path := range map[string]string{"missing": filepath.Join(dir, "none.yaml"), "a directory": dir, "too big": big} {
		if fs := faultsOf(t, path); len(fs) != 1 || !strings.Contains(fs[0].Problem, "cannot be read") {
			t.Errorf("%s: %v", name, fs)
		}
	}
}

func TestManyElementsAreRefused(t *testing.T) {
	text := minimal() + "trusted_proxies:\n" + strings.Repeat("  - 10.0.0.0/8\n", maxElements+1)
	if fs := faultsOf(t, write(t, t.TempDir(), "c.yaml", text)); !has(fs, "trusted_proxies") {
		t.Errorf("a list without end was accepted: %v", fs)
	}
}

// TestEnvironmentReachesEveryKey sets every key by its variable alone.
func TestEnvironmentReachesEveryKey(t *testing.T) {
	root := schema()
	for _, name := range envNames(root, nil) {
		d := newDocument("")
		var paths [][]step
		resolve(root, name, nil, &paths)
		if len(paths) != 1 {
			t.Errorf("%s%s names %d keys, not one", EnvPrefix, name, len(paths))
			continue
		}
		value := map[kind]string{kindBool: "true", kindInt: "7", kindBytes: "5KiB", kindDuration: "5m"}[paths[0][len(paths[0])-1].f.kind]
		if value == "" {
			value = "text"
		}
		d.environment([]string{EnvPrefix + name + "=" + value})
		if len(d.faults.list) > 0 {
			t.Errorf("%s: %v", name, d.faults.list)
			continue
		}
		c, err := d.decode()
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if reflect.DeepEqual(c, Default()) {
			t.Errorf("%s%s has no effect", EnvPrefix, name)
		}
	}
}

func TestEnvironmentWinsAndExtends(t *testing.T) {
	path := write(t, t.TempDir(), "c.yaml", minimal()+"trusted_proxies: [192.0.2.0/24]\n")
	c := mustLoad(t, path,
		"PATH=/bin", "SSOGATE_SESSION_IDLE=2h", "SSOGATE_ROUTES_0_UPSTREAM=http://127.0.0.1:4000",
		"SSOGATE_ROUTES_0_PUBLIC=/a, /b/*", "SSOGATE_ROUTES_1_NAME=second", "SSOGATE_ROUTES_1_ORIGINS_0=https://two.example.com",
		"SSOGATE_ROUTES_1_UPSTREAM=http://127.0.0.1:5000", "SSOGATE_TRUSTED_PROXIES=10.0.0.0/8,fd00::/8", "SSOGATE_TRUSTED_PROXIES_1=10.1.0.0/16",
		"SSOGATE_PROVIDERS_0_ID=kc", "SSOGATE_PROVIDERS_0_PROTOCOL=oidc", "SSOGATE_PROVIDERS_0_ISSUER=https://id.example.com",
		"SSOGATE_PROVIDERS_0_CLIENT_ID=ssogate", "SSOGATE_PROVIDERS_0_CLIENT_SECRET="+newKey(24),
		"SSOGATE_PROVIDERS_0_ATTRIBUTES_USER_NAME=preferred_username", "SSOGATE_CONFIG=ignored.yaml",
	)
	if c.Session.Idle != 2*time.Hour || c.Routes[0].Upstream != "http://127.0.0.1:4000" || !slices.Equal(c.Routes[0].Public, []string{"/a", "/b/*"}) {
		t.Errorf("the environment did not win: %s", c)
	}
	if len(c.Routes) != 2 || c.Routes[1].Name != "second" || c.Routes[1].Origins[0] != "https://two.example.com" {
		t.Errorf("the environment did not add a route: %s", c)
	}
	if !slices.Equal(c.TrustedProxies, []string{"10.0.0.0/8", "10.1.0.0/16"}) {
		t.Errorf("the list was not replaced and then amended: %v", c.TrustedProxies)
	}
	if c.Providers[0].Attributes.UserName[0] != "preferred_username" {
		t.Errorf("a nested list in a list was not set: %s", c)
	}
}

func TestEnvironmentAloneIsEnough(t *testing.T) {
	c := mustLoad(t, "", "SSOGATE_URL=https://sso.example.com", "SSOGATE_SECRETS_COOKIE_KEY="+newKey(64), "SSOGATE_SECRETS_SEAL_KEY="+newKey(32),
		"SSOGATE_ROUTES_0_NAME=app", "SSOGATE_ROUTES_0_ORIGINS=https://app.example.com", "SSOGATE_ROUTES_0_UPSTREAM=http://127.0.0.1:3000")
	if c.URL != "https://sso.example.com" || !filepath.IsAbs(strings.TrimPrefix(c.Database.URL, "sqlite:")) {
		t.Errorf("got %s", c)
	}
}

func TestEnvironmentIsStrict(t *testing.T) {
	path := write(t, t.TempDir(), "c.yaml", minimal())
	for _, tc := range []struct{ name, env, key, fix, why string }{
		{"typo", "SSOGATE_SESION_IDLE=8h", "SSOGATE_SESION_IDLE", "SSOGATE_SESSION_IDLE", "the default would stay in force"},
		{"typo in a list", "SSOGATE_ROUTES_0_UPSTRAEM=x", "SSOGATE_ROUTES_0_UPSTRAEM", "SSOGATE_ROUTES_0_UPSTREAM", ""},
		{"bare duration", "SSOGATE_SESSION_IDLE=90", "session.idle", "unit", ""},
		{"whole struct", "SSOGATE_SESSION=8h", "SSOGATE_SESSION", "", ""},
		{"whole list", "SSOGATE_ROUTES=x", "routes", "SSOGATE_ROUTES_0_NAME", ""},
		{"gap", "SSOGATE_ROUTES_2_NAME=x", "routes", "without gaps", "element 1 would be empty"},
		{"huge index", "SSOGATE_ROUTES_99999999_NAME=x", "SSOGATE_ROUTES_99999999_NAME", "", "memory"},
		{"leading zero", "SSOGATE_ROUTES_00_NAME=x", "SSOGATE_ROUTES_00_NAME", "", "two names for one element"},
		{"not a boolean", "SSOGATE_INSECURE_PLAIN_HTTP=1", "insecure_plain_http", "true or false", ""},
		{"lower case", "SSOGATE_url=https://a.example", "SSOGATE_url", "SSOGATE_URL", ""},
		{"control character", "SSOGATE_URL=https://a\x07", "url", "invisible", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			fs := faultsOf(t, path, tc.env)
			if !slices.ContainsFunc(fs, func(f Fault) bool { return f.Key == tc.key && strings.Contains(f.Fix, tc.fix) }) {
				t.Errorf("%s: got %v", tc.why, fs)
			}
		})
	}
}

func TestKubernetesServiceLinksAreIgnored(t *testing.T) {
	mustLoad(t, write(t, t.TempDir(), "c.yaml", minimal()),
		"SSOGATE_SERVICE_HOST=10.0.0.1", "SSOGATE_SERVICE_PORT=8443", "SSOGATE_SERVICE_PORT_HTTPS=8443", "SSOGATE_PORT=tcp://10.0.0.1:8443",
		"SSOGATE_PORT_8443_TCP=tcp://10.0.0.1:8443", "SSOGATE_PORT_8443_TCP_ADDR=10.0.0.1", "SSOGATE_REDIS_SERVICE_HOST=10.0.0.2", "SSOGATE_REDIS_PORT=tcp://10.0.0.2:6379")
	for _, name := range envNames(schema(), nil) {
		if serviceLink.MatchString(EnvPrefix + name) {
			t.Errorf("%s%s is a key and would be taken for a service link", EnvPrefix, name)
		}
	}
}

func TestEnvironmentMendsTheFile(t *testing.T) {
	path := write(t, t.TempDir(), "c.yaml", minimal()+"session: {idle: 90}\n")
	if c := mustLoad(t, path, "SSOGATE_SESSION_IDLE=90m"); c.Session.Idle != 90*time.Minute {
		t.Errorf("got %s", c.Session.Idle)
	}
}

// TestSecretsNeverPrint covers every way Go prints a value, and every secret.
func TestSecretsNeverPrint(t *testing.T) {
	c := benign()
	c.Secrets = Secrets{CookieKey: "hunter2a", CookieKeyPrevious: "hunter2b", SealKey: "hunter2c", SealKeyPrevious: "hunter2d"}
	c.Database.URL = "postgres://u:hunter2e@h/d?password=hunter2f"
	c.Redis.URL, c.Redis.SentinelPassword = "redis+sentinel://:hunter2g@s1.internal:6379,s2.internal/main", "hunter2j"
	c.Providers[1].ClientSecret = "hunter2h"
	c.SCIM.Connections[0].Tokens[0].Token = "hunter2i"
	var log strings.Builder
	for _, h := range []slog.Handler{slog.NewJSONHandler(&log, nil), slog.NewTextHandler(&log, nil)} {
		slog.New(h).Info("x", "c", c, "v", *c, "s", c.Secrets, "d", c.Database, "r", c.Redis, "p", c.Providers, "t", c.SCIM)
	}
	j, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	all := log.String() + string(j)
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q"} {
		all += fmt.Sprintf(verb, c) + fmt.Sprintf(verb, *c) + fmt.Sprintf(verb, c.Secrets) + fmt.Sprintf(verb, c.Database) +
			fmt.Sprintf(verb, c.Redis) + fmt.Sprintf(verb, c.Providers) + fmt.Sprintf(verb, c.SCIM) + fmt.Sprintf(verb, c.SCIM.Connections[0].Tokens)
	}
	for _, f := range c.Validate() {
		all += f.String()
	}
	if i := strings.Index(all, "hunter2"); i >= 0 {
		t.Fatalf("U05: a secret was printed: ...%s", all[max(0, i-60):i+8])
	}
	for _, want := range []string{"sso.example.com", redacted, "app.example.com", "redis+sentinel://s1.internal:6379,s2.internal/main"} {
		if !strings.Contains(c.String(), want) {
			t.Errorf("the redacted form lacks %s: %s", want, c)
		}
	}
}

func TestSecretFiles(t *testing.T) {
	dir := t.TempDir()
	key := newKey(CookieKeySize)
	wrappedKey := key[:40] + "\n" + key[40:] + "\n"
	write(t, dir, "cookie.key", wrappedKey)
	write(t, dir, "token", newKey(32)+"\n")
	write(t, dir, "db", "postgres://u:p@h/d\n")
	text := strings.Replace(minimal(), "  cookie_key: ", "  cookie_key_file: cookie.key # ", 1) + `
database: {url_file: db}
providers: [{id: okta, protocol: saml, metadata_url: "https://idp.example.com/m"}]
scim: {connections: [{provider: okta, tokens: [{name: a, token_file: token}]}]}
`
	c := mustLoad(t, write(t, dir, "c.yaml", text))
	if c.Secrets.CookieKey != key || c.Secrets.CookieKeyFile != "" || c.Database.URL != "postgres://u:p@h/d" || len(c.SCIM.Connections[0].Tokens[0].Token) != 44 {
		t.Error("a secret file was not read into its field")
	}
	if fs := c.Validate(); len(fs) > 0 {
		t.Errorf("a loaded config must stay valid: %v", fs)
	}
}

func TestBadSecretFilesAreRefused(t *testing.T) {
	good := func() string { return newKey(CookieKeySize) }
	for _, tc := range []struct {
		name, content, extra, why string
		mode                      os.FileMode
	}{
		{"world-readable", good(), "", "any user of the host could forge cookies", 0o604},
		{"group-readable", good(), "", "the group could forge cookies", 0o640},
		{"world-writable", good(), "", "any user could choose the key", 0o602},
		{"empty", " \n", "", "an empty key", 0o600},
		{"too big", strings.Repeat("a", maxSecretFile+1), "", "not a key", 0o600},
		{"binary", "\x00\x01\x02", "", "not base64", 0o600},
		{"missing", "", "", "no key", 0},
		{"given twice", good(), "\n  cookie_key: " + newKey(64), "which one counts?", 0o600},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := t.TempDir()
			if tc.mode != 0 {
				if err := os.WriteFile(filepath.Join(dir, "k"), []byte(tc.content), 0o600); err != nil {
					t.Fatal(err)
				}
				if err := os.Chmod(filepath.Join(dir, "k"), tc.mode); err != nil {
					t.Fatal(err)
				}
			}
			text := "url: https://sso.example.com\nsecrets:\n  cookie_key_file: k\n  seal_key: " + newKey(32) + tc.extra +
				"\nroutes: [{name: app, origins: [\"https://app.example.com\"], upstream: \"http://127.0.0.1:3000\"}]\n"
			fs := faultsOf(t, write(t, dir, "c.yaml", text))
			if len(fs) != 1 || fs[0].Key != "secrets.cookie_key_file" {
				t.Errorf("%s: %v", tc.why, fs)
			}
		})
	}
}

func TestConfigModeIsAWarning(t *testing.T) {
	path := write(t, t.TempDir(), "c.yaml", minimal())
	if c := mustLoad(t, path); len(c.Warnings()) > 0 {
		t.Errorf("mode 0600 was warned about: %v", c.Warnings())
	}
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	if w := mustLoad(t, path).Warnings(); len(w) != 1 || !strings.Contains(w[0].Fix, "chmod 600") {
		t.Errorf("a world-readable file with keys was not warned about: %v", w)
	}
}

func TestErrorListsEveryFault(t *testing.T) {
	_, err := Load(write(t, t.TempDir(), "c.yaml", "lsten: x\n"), nil)
	for _, want := range []string{"lsten: unknown key", "url: is not set", "secrets.cookie_key", "routes: is empty"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error lacks %q: %v", want, err)
		}
	}
}
