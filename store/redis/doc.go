// Package redis keeps sessions and pending sign-ins in Redis 6.2 or later.
//
// It owns: the connection with its time limits, the keys, and the scripts that
// make each change atomic. [DB.Sessions] is a session.Store, [DB.Pending] an
// sso.Pending. It must not decide anything: it never clears a session because a
// call failed, and no answer of Redis alone admits anybody (the member's epoch
// and the session tombstones live in SQL; protocols, section 1).
//
// Keys, all below "ssogate:" (see Options.Prefix) so that a server may be shared:
//
//	s:{HASH}            hash    one session: d (record), m (member), e (epoch), seen
//	m:{MEMBER}          zset    a member's session hashes, scored by absolute end
//	{pending}:KIND:HASH hash    one pending record: id, t (end), n (bytes), d (value)
//	{pending}:KIND      zset    what counts against the budget of a kind, scored by end
//	{pending}:KIND:sum  string  bytes of those
//
// Braces are Redis Cluster hash tags. A session and its member's index cannot
// share a slot, because a request knows only the hash: so the index is written
// first and entries without a record are expected. All pending records share
// one tag, because one Take spans kinds (code and Login) whose hashes have
// nothing in common, and it must be one script: they are small and short-lived.
//
// Every record carries its own id, compared after every read: a proxy or a
// broken connection that hands over somebody else's answer admits nobody (K09).
package redis
