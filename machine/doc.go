// Package machine admits programs, which have no browser to sign in with: by service
// tokens that the operator makes for routes, and by what an issuer of JWTs vouches for.
//
// It owns: [Token] and its store interface, making and revoking tokens, and
// [Admitter], which answers whose a token is. A machine is a principal of its own kind:
// it is no member, has no session, role or address, and is called machine:NAME.
//
//	token --hash--> held under the lease --> Principal        (session.Leased: C3, C4)
//	          \--else--> one read of the store --> Principal, or refused
//
//	revoke: row deleted, tombstone, event, revocation row (one transaction), then the
//	barrier. The row names the token's hash as one of a session does (ScopeSession), so
//	floors, requests in flight and streams are those of sessions, on every node (G1).
//
// It must not know routes, rules, HTTP, nor how a JWT is verified: the proxy asks which
// routes a token is for, and sso/oauth verifies.
package machine
