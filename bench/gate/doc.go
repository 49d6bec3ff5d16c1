// Command gate measures what an admitted request costs, beside other proxies and
// other ways to ask who somebody is; see docs/performance.md, which it writes.
//
// On loopback it starts one fast upstream (nginx, 1 KiB) and every contestant, each
// pinned to one core, while load and upstream have the other. All of them run, and one
// at a time gets load, for a second, turn about: what disturbs the machine disturbs
// neighbours in the same round alike, so that only ratios inside a round are compared.
// Whoever asks for a sign-in is signed in for real, by the identity providers of
// sso/ssotest, and must refuse without the cookie, and tell the upstream who it is.
//
// What it measures is reported and never asserted. It is run by "make gatebench", for
// minutes, and never by a test: only its arithmetic is tested.
//
//	load.go      the load: raw keep-alive connections on one epoll
//	proc.go      processes pinned to a core, their time and memory from the kernel
//	plain.go     nginx, HAProxy, Caddy, the Go floors
//	gates.go     ssogate in its forms
//	peers.go     Apache's modules, oauth2-proxy
//	rest.go      memory of idle connections, time to start
//	report.go, plot.go
package main
