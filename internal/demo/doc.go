// Package demo is what stands around the gateway in `ssogate demo`: a sample
// application that was never built for single sign-on ([App]), a small SCIM
// client page ([SCIMClient]) and the three people of the story ([People]).
//
// It owns their look and their words. It must not reach into the gateway: the
// application knows only the headers it receives, the SCIM client only the
// public SCIM API with a bearer token, so what the demo shows is what a real
// application and a real identity provider would see. The two identity
// providers are those of sso/ssotest.
//
// Everything here is for a loopback address. Nothing is loaded from elsewhere.
//
//	application                         SCIM client
//	GET /          the page             GET  /                    people, last exchanges
//	GET /ws        ticks, WebSocket     POST /people/{user}       deactivate, reactivate, create
//	GET /events    ticks, SSE           GET  /assets/...
//	GET /download  about a minute
//	GET /whoami    headers as JSON
//	GET /assets/...
package demo
