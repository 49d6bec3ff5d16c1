// Package gatetest tests the whole product: the same wiring as `ssogate serve`
// (package cmd/ssogate/run) with real listeners, a real database, in-process
// identity providers that sign for real, and a sample application.
//
// It owns no code that ships. A test here is about a promise of the README or a
// row of docs/threat-model.md as somebody outside sees it; what one package can
// show alone is tested beside that package.
package gatetest
