// Package upstream is the way to the application: for each route a [Pool] of
// upstreams with their transports, limits and health, and names for what can go
// wrong on that way. The connection layer for plain HTTP/1.1 is below it, in h1.
//
// It owns which upstream a request goes to, time-outs, connection reuse, second
// attempts and the classification of faults. It
// must not know sessions, routes or pages, and must not choose headers.
//
//	fault                     status   when
//	Unreachable                 502    refused, no route, DNS, TLS, or no connection within Dial
//	TooSlow                     504    connected, but no response headers within Header
//	Broken                      502    the answer is not HTTP, or ended before its headers did
//	Busy                      503    at its limit of requests at once, and the queue is full
//	Canceled                     -     we or the client gave up: nothing is answered
//	Unsendable                  400    the request has two readings, and was not sent
package upstream
