package gatetest

import (
	"bytes"
	"testing"

	"github.com/ssogate/ssogate/cmd/ssogate/run"
	"github.com/ssogate/ssogate/internal/demo"
)

// Our key towards an identity provider is replaced while people sign in, on both
// engines: there is no moment at which the IdP or we refuse what the other sends.
func TestSPKeyIsReplacedWithoutAnOutage(t *testing.T) {
	engines(t, func(t *testing.T, with func(*run.DemoOptions)) {
		w := start(t, with)
		id := w.Server.Settings().Load().Providers[0].ID
		certificates := func() (raw []byte, n int) {
			raw, err := w.Server.SAMLMetadata(id)
			if err != nil {
				t.Fatal(err)
			}
			return raw, bytes.Count(raw, []byte(`use="signing"`))
		}
		signIn := func(when string) {
			t.Helper()
			if _, err := demo.NewVisitor().SignIn(t.Context(), w.Facts.App+"/", "SAML", w.ana()); err != nil {
				t.Errorf("%s: %v", when, err)
			}
		}
		step := func(s run.SPKeyStep, want int) {
			t.Helper()
			if _, err := w.Server.ProviderAdmin().SPKeys(t.Context(), run.SPKeyChange{Actor: "cli:op", Provider: id, Step: s}); err != nil {
				t.Fatal(err)
			}
			if _, n := certificates(); n != want {
				t.Errorf("after %s the metadata has %d signing certificates, want %d", s, n, want)
			}
		}
		signIn("before")
		step(run.PublishNextKey, 2)
		signIn("two published, the old one signs")
		raw, _ := certificates()
		if err := w.SAML.RegisterMetadata(raw); err != nil { // the administrator's part
			t.Fatal(err)
		}
		step(run.SwitchKey, 2)
		raw, _ = certificates()
		if err := w.SAML.RegisterMetadata(raw); err != nil {
			t.Fatal(err)
		}
		signIn("the new one signs")
		step(run.RetireKey, 1)
		signIn("the old one is gone")
	})
}
