// Package interop signs people in and out with identity providers that share no
// line with Go's libraries: Debian's SimpleSAMLphp under PHP's own server, and
// npm's oidc-provider under Node, in a real Chromium, through the real wiring.
//
//	make interop
//
// It owns tests only and no code that ships. They have the build tag "interop", for
// they need PHP, Node and packages of theirs, which `make interop` installs; vet and
// lint read them always. What they showed last,
// with versions and quirks, is in docs/interop.md.
package interop
