package h1

import (
	"slices"
	"strings"
)

// differences are where this package is stricter than http.Transport, and why. Each is
// met by some case, or the test fails: a reason nobody needs is a hole nobody sees.
var differences = []difference{
	{
		"length beside coding", "RFC 9112 section 6.3 calls it an attempt at smuggling; http.Transport drops the length",
		stricter("4.2 length and coding", "4.2 coding and length"),
	},
	{
		"coding in HTTP/1.0", "RFC 9112 section 6.1: the framing is to be taken for faulty; http.Transport hands chunk sizes on as content",
		stricter("4.2 coding in HTTP/1.0"),
	},
	{
		"bare LF", "who ends a line at LF and who does not see two different heads (RFC 9112 section 2.2 allows a server's leniency, not a proxy's)",
		stricter("4.10 bare LF in the head", "4.10 bare LF everywhere"),
	},
	{
		"folded fields", "RFC 9112 section 5.2: obsolete, and read by each in his own way",
		stricter("4.10 folded field", "4.10 folded length"),
	},
	{
		"space before colon", "RFC 9112 section 5.1: another name to some, the same to others",
		stricter("4.10 space before colon"),
	},
	{
		"status line", "RFC 9112 section 4 has one form; 0xx and 6xx mean nothing to the client behind us",
		stricter("4.10 status with plus", "4.10 status 099", "4.10 status 000", "4.10 two spaces", "4.10 control in the reason"),
	},
	{
		"other versions", "what speaks HTTP/0.9, 1.2 or 2.0 here is not the application",
		stricter("4.10 HTTP/2", "4.10 HTTP/1.2", "4.10 HTTP/0.9"),
	},
	{
		"number of fields", "http.ReadResponse has no limit but the bytes (section 4.3)",
		stricter("4.10 two thousand fields"),
	},
	{
		"number of interim responses", "they go on for as long as an application likes (section 4.4)",
		stricter("4.4 a thousand 103"),
	},
	{
		"unasked 101", "it would be a tunnel that nobody decided about (section 4.4)",
		stricter("4.4 101 that nobody asked for"),
	},
	{
		"framing in trailers", "RFC 9110 section 6.5.1: a trailer does not say how a message was framed",
		func(k *exchangeCase, a, b outcome) bool {
			b.trailer = ""
			return k.odd("4.2 length in a trailer") && same(a, b)
		},
	},
	{
		"target with two slashes", "http.Transport takes Opaque for a host and asks for another resource",
		func(k *exchangeCase, a, b outcome) bool {
			return k.target == "//x" && strings.HasPrefix(a.request, "GET //x ") && !a.bad()
		},
	},
	{
		"answer instead of 100", "the application may wait for the body, or for the next request: nobody knows (RFC 9110 section 10.1.1)",
		func(k *exchangeCase, a, b outcome) bool {
			b.kept = false
			return k.odd("4.4 final answer instead of 100") && same(a, b)
		},
	},
	{
		"longer body than said", "what is said last wins, in both: an answer that was there, or the complaint; the connection is not kept",
		func(k *exchangeCase, a, _ outcome) bool { return k.odd("4.8 long body") && !a.kept },
	},
	{
		"connection field", "http.Transport takes Connection: close out of some answers; the gate takes the field out of all",
		func(_ *exchangeCase, a, b outcome) bool {
			a.header = strings.Join(slices.DeleteFunc(strings.Split(a.header, "\n"), func(l string) bool { return strings.HasPrefix(l, "Connection: ") }), "\n")
			return same(a, b)
		},
	},
}
