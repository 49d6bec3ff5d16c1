// Package refresh asks an OpenID provider again and again whether the people who
// signed in through it may still be signed in, and ends the sessions of those
// whom it refuses. It is how somebody removed at a provider without SCIM is out
// before his session ends by itself.
//
// It owns the [Grant] of a session, the [Store] interface and the [Keeper]. It must
// not speak OAuth (sso/oauth does, behind sso.Refresher), must never log or hand
// out a refresh token, and ends sessions only through the Directory, with its
// barrier and its audit event.
//
//	due -> claimed by one node -> session still there? -> asked
//	  confirmed        new token stored, then believed; due again
//	  refused          session ended ("refresh_refused"), grant deleted
//	  another person   session ended ("refresh_mismatch"), grant deleted
//	  anything else    the session goes on; asked again later, and later still
//
// One node asks about one grant at a time: a claim is a lease, renewed while the
// provider is slow, and counts only while it is held. A node that dies leaves a
// lease that runs out. A provider that rotates refresh tokens has one weak spot:
// a node that dies after the provider's answer and before the new token is stored.
// The next node then redeems a used token, is refused, and the person signs in
// again: he loses a session, and nobody keeps one that he should not have.
package refresh
