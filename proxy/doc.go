// Package proxy stands on the app origins: it reads each request once, decides
// it once, and forwards exactly what it decided about.
//
// It owns: the canonical request (proxy/canonical), routes, policy, the
// [Gate], identity headers, streams in flight ([Live]) and refusals. It must
// not import sso or scim: sign-in is a URL to it. The zero [Verdict] denies.
//
//	request -> canonical -> route -> Sessions.Admit -> policy -> Decision
//	                                 or, with a bearer where the route takes one, machine.go
//	   admitted: identity headers set, registered in Live, re-checked (C10), upstream
//	   otherwise: refuse.go (302, 401 page, 401 problem+json, 403 page, 503)
package proxy
