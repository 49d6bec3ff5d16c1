// Package oauth signs people in through OpenID Connect: the authorization code
// flow with PKCE, state and nonce, against a provider found by discovery.
//
// It owns the authorization request, the redirect URI's answer, the token
// request, and every check between an ID token and an [sso.Assertion]. It must
// not store anything, must not know members, sessions or pages, and reads the
// identity only from bytes whose signature it has verified.
//
//	Begin    state = Login id, fresh nonce and code verifier  -> authorization endpoint
//	Receive  GET only, no repeated parameter, bounded values  -> answer, not believed
//	Verify   Login, iss, error                                   what the browser brought
//	         code + verifier -> token endpoint                   no redirects, one deadline
//	         signature: allow-listed algorithms, JWKS keys only
//	         iss aud azp exp iat nbf nonce auth_time at_hash sub
//	         userinfo if claims are missing: same sub
//	         -> sso.Assertion keyed (provider, issuer, sub)
//
//	Refresh  refresh token -> token endpoint                     no redirects, one deadline
//	Verify   a new ID token, if any: signature, iss aud azp exp iat nbf, same sub
//
// Two kinds of error leave a sign-in: *sso.VerifyError when an answer is refused, and
// *UnavailableError when the provider could not be asked or made no sense. A refresh has *sso.RefreshError.
//
// [MachineIssuer] is apart from all that: it verifies JWTs that programs bring as
// bearers, with the same keys and readers, and knows no sign-in.
//
// A provider that is down when ssogate starts does not stop it: discovery
// happens at the first sign-in, is kept, and is repeated hourly; the last good
// document serves for a day.
package oauth
