// Package identity is for the application behind ssogate: it reads who asks, from
// the signed assertion that the gateway sends on a route with identity.assertion,
// or from the plain identity headers.
//
//	v, err := identity.NewVerifier("https://sso.example.com", "reports", identity.Options{})
//	...
//	user, err := v.FromRequest(r)
//	if err != nil {
//		http.Error(w, "sign in first", http.StatusUnauthorized)
//		return
//	}
//
// It owns the names and the encoding of those headers and the form of the token,
// and must not import anything else of ssogate, nor anything outside of the standard
// library, so that an application can use it alone.
//
// The headers ([FromHeaders]) are true only because ssogate removes every spelling a
// client may send. An application that can also be reached without passing the
// gateway must not read them: whoever reaches it directly could write them himself.
// There it uses a [Verifier], which believes only what the gateway has signed, for
// this application, in the last minute.
package identity
