// Package ssotest is the other side of the handshake, in process: a SAML
// identity provider, an OpenID Connect provider, and the conformance suites of
// the sso.Pending and refresh.Store stores.
//
// It owns [Person] and the providers that sign people in with real forms, real
// keys and real signatures. Tests use it, and so does `ssogate demo`, which is
// why the providers are ordinary http.Handlers that take no *testing.T. Hooks
// let a test make a provider misbehave; without hooks they follow the standard.
//
// It must not be imported by anything that serves real people: passwords here
// are plain text and keys live in memory only.
package ssotest
