// Package member is the list of people and teams, and the rules by which a
// person becomes, stays and stops being one of them.
//
// It owns: Member, Team, Identity, Tombstone, Invitation, and [Directory], the
// only place where they change. Every change is ONE transaction of the
// [Store]: the row (version checked, epoch raised where access ends), the
// revocation entry and the audit event. After the commit the Directory waits
// for the [Revoker]'s barrier before it reports success.
//
// It must not know HTTP, SAML, OAuth, SCIM syntax, cookies or SQL.
//
// A member is admitted when three stored conditions hold (docs: product 4, 5):
//
//	Wish       the IdP's word (SCIM active); true for members without a connection
//	Accepted   the invitation was accepted (or none was needed)
//	Suspended  an owner's suspension, false to be admitted
//
//	state        Wish  Accepted  Suspended
//	suspended      *      *        true
//	deactivated  false    *        false
//	invited      true   false      false
//	active       true   true       false
package member
