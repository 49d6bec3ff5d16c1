// Package outbound makes the one kind of HTTP client that ssogate calls the
// outside world with: metadata, discovery, keys, tokens, webhooks.
//
// The URLs it is given come from people who may edit a provider, and from
// documents those URLs lead to. Whoever can name a URL must not be able to make
// the gateway speak to its own network (server-side request forgery): not to
// loopback, not to private or link-local addresses, never to a cloud's
// instance metadata. So the decision is made where it cannot be walked around:
//
//	scheme     before each request and each redirect: https, or http to an allowed host
//	host       no userinfo, no number spelling of an address (0x7f000001, 127.1)
//	address    when the socket connects, on the address it connects to; a name
//	           that resolves differently a second time gains nothing
//	size       the body as decompressed, headers too
//	time       one deadline for the whole exchange, redirects and body included
//
// Only the operator's file lifts the address rule (outbound.allow), and nothing
// lifts it for the metadata addresses.
//
// It must not know what it fetches, keeps no cookies, and never uses a proxy
// from the environment: a proxy would connect where this package cannot look.
package outbound
