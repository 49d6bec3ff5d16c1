// Package local is every sign-in without an identity provider: passwords of members
// while Require SSO is off, and the break-glass way in of fallback owners, who have
// a password and one-time codes.
//
// It owns: the rules of passwords, codes and one-time links, the slowing of
// guesses, and the pages below. What is kept is kept by [Store]: always SQL, so
// that a fallback owner gets in while identity providers, Redis and mail are down.
//
// It must not know SAML, OAuth, SCIM, SQL or the proxy, and never decides who is a
// member: that is member.Directory's.
//
//	path                 who                         what it does
//	/setup/{token}       bearer of a one-time link   sets the password; for a fallback owner his codes too
//	/fallback            fallback owner              password and one code; a short session of the gateway origin
//	/password/reset      member                      sends a one-time link by e-mail
//
// Guessing is slowed and never locked out: the delay grows for an address, and for
// an account at the addresses that have failed there; whoever comes from elsewhere
// with the right credentials is let in at once (row I02).
package local
