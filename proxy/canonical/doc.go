// Package canonical reads one HTTP request into one value that has exactly one
// meaning, or refuses it.
//
// Most bypasses of gateways are two readers of one request: the gateway decides
// about /public/..%2fadmin and the application serves /admin. So nothing is
// ever normalised here: a target that two parsers could read differently is
// refused with a typed [Refusal], and what is accepted is forwarded byte for
// byte (design G3).
//
// It owns the syntax of method, host and request target. It must not know
// routes, policy, sessions or headers, and must not read r.URL: net/http has
// already decoded that.
//
//	refused                                     why
//	absolute-form, *, authority-form            net/http drops the Host header; no other agreement to check
//	raw space, control, non-ASCII, # " < > \ ^ ` { }   RFC 3986 section 2; browsers escape them or never send them
//	; in a path                                 path parameters: Tomcat and others cut them off
//	// , /./ , /../ and a trailing dot segment  merged or resolved by most servers
//	%2f %5c %2e %3b, %00-%1f, %7f               decoded into the above
//	escaped letters and digits                  /%61dmin is /admin to the application
//	%25 before two hexadecimal digits           decoded twice by some applications
//	escapes that are not UTF-8, or are overlong read differently by decoders
//	query: space, control, non-ASCII, #         otherwise the query is opaque
package canonical
