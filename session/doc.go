// Package session decides, for every request, which member it comes from, and
// makes sure that a member who was cut off is nobody from then on, on any node.
//
// It owns: [Record] and the [Store] interface, the signed host-bound cookies and
// their [KeyRing], [Manager] (start, admit, list, end), the principal cache under
// a lease, [Leased] for principals that others read, and [Cutoff] (protocols, section 1).
//
// It must not know SAML, OAuth, routes, SCIM, SQL or Redis. It reads members only
// through its [Directory] interface, cuts streams only through [Streams], and
// knows other nodes only as rows of a [Registry].
//
//	cookie --hash--> cache hit: lease live, asOf >= floor, key accepted --> Principal
//	          \--else--> one read for all who ask: Store.Get + Directory.Snapshot --> Principal
//
// A cut-off, from the transaction that changes a member to the answer:
//
//	the row is committed          member.Directory        C1
//	nodes are woken, or poll      Wakes, Cutoff.Run       250 ms
//	floor, then streams           Cutoff.apply, cut       C3, C10
//	acknowledged, in order        Cutoff.finish, Lease    C5
//	every node has, or has no     Publisher.wait          C8: a second from the first
//	lease any more                                        reading of the registry
//	ended sessions are deleted    tidier                  C2: by any node
//
// cutoffmodel_test.go plays all of it in virtual time against every fault we know.
// The zero value of every decision here is "no".
package session
