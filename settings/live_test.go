package settings

import (
	"testing"

	"github.com/ssogate/ssogate/member"
)

func TestWithoutSettingsNobodyCanSignIn(t *testing.T) {
	var l Live
	s := l.Load()
	if s == nil || len(s.Providers) != 0 || len(s.Connections) != 0 {
		t.Fatalf("zero value: %+v", s)
	}
	if _, ok := s.Provider(""); ok {
		t.Error("a provider came out of nothing")
	}
}

func TestOnlyActiveProvidersAreFound(t *testing.T) {
	var l Live
	l.Store(&Settings{
		Providers:   []Provider{{ID: "okta", Active: true}, {ID: "old"}},
		Connections: []Connection{{Connection: member.Connection{ID: "okta", Provider: "okta"}}},
	})
	for id, want := range map[string]bool{"okta": true, "old": false, "OKTA": false, "": false, "none": false} {
		if _, ok := l.Load().Provider(id); ok != want {
			t.Errorf("provider %q found: %t, want %t (S30: a disabled one is refused)", id, ok, want)
		}
	}
	if c, ok := l.Load().ConnectionOf("okta"); !ok || c.ID != "okta" {
		t.Errorf("connection %+v %t", c, ok)
	}
	if _, ok := l.Load().ConnectionOf("old"); ok {
		t.Error("a provider without a connection has one")
	}
}

func TestASwapIsSeenWhole(t *testing.T) {
	var l Live
	before := l.Load()
	l.Store(&Settings{Version: 2, RequireSSO: true})
	if after := l.Load(); after.Version != 2 || !after.RequireSSO || before.Version != 0 {
		t.Error("a reader's value changed under it, or the new one is not there")
	}
}
