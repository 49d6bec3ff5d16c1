// Package wire reads the bytes of HTTP/1 requests before net/http does, and holds
// them to one framing.
//
// net/http is lenient where RFC 9112 lets it be: it drops Content-Length beside
// Transfer-Encoding, ignores Transfer-Encoding in HTTP/1.0, ends lines at a bare LF,
// joins folded lines, merges equal Content-Lengths and skips chunk extensions. Each
// of these is a request that a server in front of us may have split at another byte
// (rows T01, T02, T03), and none can be seen any more once net/http has parsed it.
//
// [Listen] wraps the public listener. Its connections look at what Read delivers and
// do not change it: an accepted stream arrives byte for byte (but for one empty line
// before a request, RFC 9112 section 2.2), bodies are counted and not copied, and only
// a head or trailer section that has not arrived whole is held back. A head that breaks
// a rule is replaced by a request that no client can send: its Host is [RefusedHost],
// and [Refusal] tells why. The gate answers it like any other it refuses, so that
// earlier requests of the connection are answered first, and log, metric and audit
// know. Nothing behind it is read. A body that breaks a rule after its head was handed
// over becomes one that net/http cannot read to its end either.
//
//	phase    what follows             next
//	start    CRLF once, method        head
//	head     lines, held until whole  body, size or start
//	body     Content-Length bytes     start
//	size     hex digits CRLF          chunk, or trailer after a zero
//	chunk    data, CRLF               size
//	trailer  lines, held until whole  start
//	offered  held, a byte for who looks  a tunnel ([Detach]), or start
//	refused  dropped until net/http has answered and closed
//	broken   the end
//
// HTTP/2 (by ALPN) passes unwrapped: its framing is length-prefixed and net/http
// strict. A connection that is taken over must be given to [Detach] first.
//
// It must not know routes, sessions or what a path means: that is proxy/canonical's.
package wire
