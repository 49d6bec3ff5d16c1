// Package h1 speaks plain HTTP/1.1 to one application, over TCP or a unix
// socket, at a fraction of what http.Transport costs: the request is written and
// the response read on the goroutine that asks, and nothing is handed to others.
//
// It owns: the bytes on the wire, the framing of requests and responses,
// keep-alive connections, cancellation, and one careful retry. It must not
// choose headers or targets, decompress, follow redirects, use a proxy, speak
// TLS or HTTP/2, or know sessions, routes and pages.
//
//	RoundTrip
//	  refuse what could be read in two ways (write.go)
//	  connection: newest idle one that is silent (pool.go, look_unix.go), or dial
//	  write head; a body is pumped by a goroutine of its own (upload.go)
//	  read head: limited, strict (head.go); interim answers (interim.go)
//	  framing (framing.go) -> body (body.go, chunked.go) or tunnel (tunnel.go)
//	  end (exchange.go): the connection goes back, or is closed
//
// # Who may touch a connection
//
// An exchange is live, over or dead. Whoever wants to close the connection from
// another goroutine (a cancelled context, a failed upload, Body.Close) must first
// turn live into dead; the end of the exchange turns live into over before the
// connection goes back to the pool. So nothing that fires late can hurt the
// next user. Buffers belong to the exchange; no string made from them outlives
// it without a copy.
package h1
