// Package web is what every HTTP handler of ssogate shares: request ids, the
// client address, one access record per request, problem+json, and the plain
// pages shown to people on the gateway origin and on app origins.
//
// It owns the look of those pages (one embedded stylesheet, inlined and allowed
// by its hash, so that a page loads nothing from anywhere) and their security
// headers. It must not decide anything and must not know sessions or members.
package web
