package config

import (
	"bytes"
	"errors"
	"flag"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write config.example.yaml anew")

const examplePath = "../config.example.yaml"

func TestExampleFileIsInStepWithTheTemplate(t *testing.T) {
	want, err := Example()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(examplePath, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(examplePath)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Fatal("config.example.yaml differs from the template: run go test ./config -run Example -update")
	}
}

func TestExampleKeysAreRefused(t *testing.T) {
	fs := faultsOf(t, examplePath)
	if len(fs) != 2 || fs[0].Key != "secrets.cookie_key" || fs[1].Key != "secrets.seal_key" {
		t.Fatalf("want exactly the two placeholder keys refused, got %v", fs)
	}
	if _, err := Load(examplePath, []string{"SSOGATE_SECRETS_COOKIE_KEY=" + newKey(64), "SSOGATE_SECRETS_SEAL_KEY=" + newKey(32)}); err != nil {
		t.Fatalf("with keys from the environment the example must load: %v", err)
	}
}

var (
	setting  = regexp.MustCompile(`^(\s*)#(- )?([a-z0-9_]+:)`)
	keyLine  = regexp.MustCompile(`^\s*(- )?[a-z0-9_]+:`)
	elements = regexp.MustCompile(`\[\d+\]`)
)

// TestTemplateCoversEveryKey takes the # from every setting: then the file must
// name every key there is, no other, each explained.
func TestTemplateCoversEveryKey(t *testing.T) {
	text, err := Example()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(string(text), "\n")
	for i, l := range lines {
		lines[i] = setting.ReplaceAllString(l, "$1$2$3")
	}
	for i, l := range lines {
		if keyLine.MatchString(l) && !strings.HasPrefix(strings.TrimSpace(lines[i-1]), "# ") {
			t.Errorf("line %d is not explained: %s", i+1, l)
		}
	}
	d := newDocument("example.yaml")
	d.parse([]byte(strings.Join(lines, "\n")))
	for _, f := range d.faults.list {
		t.Errorf("uncommented: %s", f)
	}
	for _, key := range Keys() {
		found := false
		for path := range d.sources {
			p := elements.ReplaceAllString(path, "[]")
			found = found || p == key
		}
		if !found {
			t.Errorf("%s is not in the template", key)
		}
	}
}

// TestTemplateShowsDefaults: a commented setting that is called the default must
// be it. Load the example with its settings uncommented for scalars that have one.
func TestTemplateShowsDefaults(t *testing.T) {
	text, err := Example()
	if err != nil {
		t.Fatal(err)
	}
	d := Default()
	for _, want := range []string{
		`#private_listen: "` + d.PrivateListen + `"`, `#require_sso: "` + d.RequireSSO + `"`, `#url: "` + d.Database.URL + `"`,
		`#idle: "8h"`, `#absolute: "24h"`, `#per_member: 0`, `#activation: "` + d.SCIM.Activation + `"`, `#lease_grace: "10s"`,
		`#per_session: 200`, `#total: 20000`, `#header_bytes: "64KiB"`, `#pending_sign_ins: 20000`,
		`#upstream_dial: "3s"`, `#upstream_header: "60s"`, `#level: "` + d.Log.Level + `"`, `#format: "` + d.Log.Format + `"`,
	} {
		if !bytes.Contains(text, []byte(want)) {
			t.Errorf("the template does not show the default %s", want)
		}
	}
}

func TestInitTemplateLoadsAsItStands(t *testing.T) {
	for _, o := range []InitOptions{
		{URL: "https://sso.example.com", App: "https://app.example.com", Upstream: "http://127.0.0.1:8080"},
		{URL: "http://localhost:8181", App: "http://localhost:8080", Upstream: "http://127.0.0.1:3000"},
		{URL: "https://192.0.2.1", App: "https://intranet", Upstream: "https://[2001:db8::1]:8443"},
	} {
		text, err := Template(o)
		if err != nil {
			t.Fatalf("%+v: %v", o, err)
		}
		c, err := Load(write(t, t.TempDir(), "ssogate.yaml", string(text)), nil)
		if err != nil {
			t.Fatalf("%+v: %v", o, err)
		}
		if c.URL != o.URL || c.Routes[0].Origins[0] != o.App || c.Routes[0].Upstream != o.Upstream || len(c.Warnings()) > 0 {
			t.Fatalf("%+v became %s, warnings %v", o, c, c.Warnings())
		}
	}
}

func TestInitTemplateDrawsFreshKeys(t *testing.T) {
	o := InitOptions{URL: "https://sso.example.com", App: "https://app.example.com", Upstream: "http://127.0.0.1:8080"}
	seen := map[string]bool{}
	for range 3 {
		text, err := Template(o)
		if err != nil {
			t.Fatal(err)
		}
		c, err := Load(write(t, t.TempDir(), "ssogate.yaml", string(text)), nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, k := range []string{c.Secrets.CookieKey, c.Secrets.SealKey} {
			if seen[k] {
				t.Fatal("a key was drawn twice")
			}
			seen[k] = true
		}
	}
}

func TestInitTemplateRefusesBadOptions(t *testing.T) {
	good := InitOptions{URL: "https://sso.example.com", App: "https://app.example.com", Upstream: "http://127.0.0.1:8080"}
	for _, tc := range []struct {
		name, key string
		change    func(*InitOptions)
	}{
		{"no url", "url", func(o *InitOptions) { o.URL = "" }},
		{"app is gateway", "routes[0].origins[0]", func(o *InitOptions) { o.App = o.URL }},
		{"plain http", "url", func(o *InitOptions) { o.URL = "http://sso.example.com" }},
		{"upstream with path", "routes[0].upstream", func(o *InitOptions) { o.Upstream += "/x" }},
		{"injected key", "url", func(o *InitOptions) { o.URL = "https://a\"\ninsecure_plain_http: true\n#" }},
		{"injected escape", "routes[0].upstream", func(o *InitOptions) { o.Upstream = `http://a\", "b` }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			o := good
			tc.change(&o)
			_, err := Template(o)
			var e *Error
			if !errors.As(err, &e) || !slices.ContainsFunc(e.Faults, func(f Fault) bool { return f.Key == tc.key }) {
				t.Fatalf("want a fault of %s, got %v", tc.key, err)
			}
			if strings.Contains(err.Error(), "insecure_plain_http: true\n") {
				t.Fatal("the option reached the error unescaped")
			}
		})
	}
}

func TestOrganizationSlugIsGuessed(t *testing.T) {
	for url, want := range map[string]string{
		"https://sso.example.com": "example", "https://example.com": "example", "http://localhost:8081": "default",
		"https://192.0.2.1": "default", "nonsense": "default",
	} {
		if got := organizationSlug(url); got != want {
			t.Errorf("%s: got %s, want %s", url, got, want)
		}
	}
}
