// Package session decides, for every request, which member it comes from, and
// makes sure that a member who was cut off is nobody from then on.
//
// It owns: [Record] and the [Store] interface, the signed host-bound cookies,
// [Manager] (start, admit, end), the principal cache under a lease, and
// [Cutoff], which applies the revocation log (protocols, section 1).
//
// It must not know SAML, OAuth, routes or SCIM. It reads members only through
// its [Directory] interface and cuts streams only through [Streams].
//
//	cookie --decode--> hash --cache hit, lease live, asOf >= floor--> Principal
//	                     \--else--> Store.Get + Directory.Snapshot --> Principal
//
// The zero value of every decision here is "no".
package session
