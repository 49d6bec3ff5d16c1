// Package upstream is the way to the application: one tuned transport, a pool
// of copy buffers, and names for what can go wrong on that way. The connection
// layer for plain HTTP/1.1 is below it, in h1.
//
// It owns time-outs, connection reuse and the classification of faults. It
// must not know sessions, routes or pages, and must not choose headers.
//
//	fault                     status   when
//	Unreachable                 502    refused, no route, DNS, TLS, or no connection within Dial
//	TooSlow                     504    connected, but no response headers within Header
//	Broken                      502    the answer is not HTTP, or ended before its headers did
//	Canceled                     -     we or the client gave up: nothing is answered
//	Unsendable                  400    the request has two readings, and was not sent
package upstream
