// Package saml is a SAML 2.0 service provider: it sends a browser to an IdP
// with a signed AuthnRequest and believes of the answer only what was signed.
//
// It owns: the AuthnRequest (HTTP-Redirect and HTTP-POST binding), the SP metadata,
// the IdP's metadata (read, fetched, refreshed, and what of it waits for approval),
// the names of attributes, and the verification of a Response in the order below. It must not know sessions, members, cookies or routes, and
// keeps no state about people: single use of the request id and the memory of
// used assertions belong to sso.Flow, which gets them as Login and
// Assertion.ReplayKey.
//
//	step  file          what is refused there
//	1     receive.go    anything but one POSTed form with one SAMLResponse, at most 384 KB
//	2     scan.go       raw tokens: size, depth, DTD, comment, PI, duplicate attribute or ID
//	3     shape.go      any element that is not where the schema has it; more than one assertion
//	3     algorithm.go  weak algorithms, odd transforms, more than one reference
//	4     signature.go  signatures that no metadata certificate made
//	5     decrypt.go    encryption that is broken, or not covered by a signature
//	6     verify.go     an answer to another request, provider or lane
//	7     assertion.go  issuer, recipient, audience, times, status, subject
//	7     authn.go      how and when the person authenticated, where that was asked for
//	8     (sso.Flow)    a second use of the same assertion
//	9     verify.go     a panic in any of it
//
// Metadata from a URL goes another way:
//
//	fetch (refresh.go) -> parse (idp.go) -> merge with what is used (facts.go)
//	  -> kept, with what is new as pending (kept.go) -> approved or rejected
//
// From step 4 on, only the canonical bytes that the digest was computed over
// are read, parsed anew: what was verified and what is consumed are the same
// bytes. Attributes are found by Name, never by FriendlyName.
//
// crewjam/saml supplies the message types and goxmldsig the signatures.
// crewjam's own ParseXMLResponse is not called: it takes time and skew from
// package variables, decrypts through a process-wide registry that includes
// rsa-1_5 and 3DES, passes over assertions that fail and takes another, and
// reads the element it was given rather than the one that was verified.
package saml
