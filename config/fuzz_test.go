package config

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// FuzzLoad: whatever the file and the environment say, Load ends, answers either
// a config that is valid or faults with a fix, and never both.
func FuzzLoad(f *testing.F) {
	example, err := Example()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(string(example), "")
	f.Add(minimal(), "SSOGATE_ROUTES_0_UPSTREAM=http://127.0.0.1:1\nSSOGATE_TRUSTED_PROXIES=10.0.0.0/8")
	f.Add("a: &a [*a]", "SSOGATE_ROUTES_1_NAME=x")
	f.Add("routes: [{}, {}]\nproviders: [{protocol: oidc}]\nscim: {connections: [{tokens: [{}]}]}", "SSOGATE_=x")
	f.Add("? {a: b}\n: c\n--- \n...", "SSOGATE_ROUTES=\x00")
	f.Add("url: \"https://[::1%25x]:99999\"\nlisten: \"[::\"", "SSOGATE_OUTBOUND_ALLOW=,,")
	dir := f.TempDir()
	f.Fuzz(func(t *testing.T, text, env string) {
		path := filepath.Join(dir, "c.yaml")
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		c, err := Load(path, strings.Split(env, "\n"))
		if err == nil {
			if fs := c.Validate(); len(fs) > 0 {
				t.Fatalf("loaded, but not valid: %v", fs)
			}
			if len(c.CookieKeys()) == 0 || len(c.SealKeys()) == 0 {
				t.Fatal("loaded without keys")
			}
			_ = c.String()
			return
		}
		var e *Error
		if c != nil || !errors.As(err, &e) || len(e.Faults) == 0 {
			t.Fatalf("want faults and no config, got %v, %v", c, err)
		}
		for _, fault := range e.Faults {
			if fault.Problem == "" || fault.Fix == "" {
				t.Errorf("fault without problem or fix: %+v", fault)
			}
			if strings.ContainsFunc(fault.Key+fault.Problem+fault.Fix+fault.Source, isControl) {
				t.Errorf("a control character reached the terminal: %q", fault)
			}
		}
	})
}

// FuzzParseOrigin: what is accepted has one spelling, and that spelling is
// accepted and means the same.
func FuzzParseOrigin(f *testing.F) {
	for _, s := range []string{"https://a.example", "http://127.0.0.1:8080", "https://[::1]:1", "HTTPS://A.EXAMPLE.:443", "https://0x7f.1", "//a", "https://a@b"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		o, problem, fix := ParseOrigin(s)
		if problem != "" {
			if fix == "" {
				t.Errorf("%q: refused without a fix", s)
			}
			return
		}
		again, problem, _ := ParseOrigin(o.String())
		if problem != "" || again != o {
			t.Errorf("%q became %s, which is %+v (%s), not %+v", s, o, again, problem, o)
		}
		if o.Port == 0 || o.Host == "" || strings.ContainsAny(o.Host, "/@?#\\ ") {
			t.Errorf("%q became %+v", s, o)
		}
	})
}
