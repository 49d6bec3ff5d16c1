// Package identity is for the application behind ssogate: it reads who asks
// from the identity headers that the gateway sets on every request it forwards.
//
//	user, err := identity.FromHeaders(r.Header)
//	if err != nil {
//		http.Error(w, "sign in first", http.StatusUnauthorized)
//		return
//	}
//
// It owns the names and the encoding of those headers, and must not import
// anything else of ssogate, so that an application can use it alone.
//
// The headers are true only because ssogate removes every spelling a client may
// send. An application that can also be reached without passing the gateway
// must not read them: whoever reaches it directly could write them himself.
package identity
