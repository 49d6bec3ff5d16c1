// Package saml measures how many SAML responses are verified in a second on one
// core, from the posted form to the assertion, beside bare crewjam/saml on the
// same forms in the same run.
//
//	make samlbench
//
// It owns the measurement only, and must not be imported. In `go test` it runs
// small, so that it cannot rot; "make samlbench" writes docs/saml-bench.md.
package saml
