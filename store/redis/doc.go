// Package redis keeps sessions and pending sign-ins in Redis 6.2 or later: one
// server, what Sentinel calls the master, or a Cluster (config.ParseRedisURL).
//
// It owns: the connections with their time limits, the keys, and the scripts that
// make each change atomic. [DB.Sessions] is a session.Store, [DB.Pending] an
// sso.Pending, [DB.Wakes] a session.Wakes, [DB.Limits] an sso.Shares. It must not
// decide anything: it never clears a session because a call failed, and no answer
// of Redis alone admits anybody (the member's epoch and the session tombstones
// live in SQL; protocols, section 1).
//
// Keys, all below "ssogate:" (see Options.Prefix) so that a server may be shared:
//
//	s:{HASH}            hash    one session: d (record), m (member), e (epoch), seen
//	m:{MEMBER}          zset    a member's session hashes, scored by absolute end
//	{pending}:KIND:HASH hash    one pending record: id, t (end), n (bytes), d (value)
//	{pending}:KIND      zset    what counts against the budget of a kind, scored by end
//	{pending}:KIND:sum  string  bytes of those
//	rate:HASH           string  one shared limit: until when it is spent
//	directory           string  whose sessions these are (see DB.Claim)
//	check:{N}:...       -       for a moment, while permissions are tried
//	wake                channel wake-ups
//
// Braces are Redis Cluster hash tags. A session and its member's index cannot
// share a slot, because a request knows only the hash: so the index is written
// first and entries without a record are expected. All pending records share
// one tag, because one Take spans kinds (code and Login) whose hashes have
// nothing in common, and it must be one script: they are small and short-lived.
// With the master that has them a cluster loses sign-ins, and no session.
//
// Every record carries its own id, compared after every read: a proxy or a
// broken connection that hands over somebody else's answer admits nobody (K09).
//
// # Failures
//
// A call has 250 ms in every topology, connecting included, and one attempt: a
// lost answer is an error, because the command may have run. Only a refusal that
// says "not here, or not yet" (READONLY, MOVED, ASK, TRYAGAIN, MASTERDOWN,
// LOADING, CLUSTERDOWN) is followed by a second attempt within the same time.
//
// There is one circuit breaker for each master, by its address. One for all would
// answer every session with an error because of the dead third of a cluster; one
// for each slot would learn 16384 times over. A replica that takes over has
// another address and so a fresh one. [DB.Ping] is content with one master that
// answers: readiness that went down with a third of the sessions would take away
// the rest. session_store_up says 0 as long as any is missing.
//
// A replica is never read: it may not know yet who was signed out. What a primary
// on the wrong side of a split network still takes is lost when it rejoins: people
// sign in again. Epochs and tombstones are in SQL, so nobody comes back. Setting
// min-replicas-to-write 1 keeps such a primary from taking anything. A cluster
// needs cluster-require-full-coverage no, or it stops as a whole.
//
// # Permissions
//
// [ACLRules] are all that the Redis user needs; config.example.yaml has the line
// to copy. [Open] tries every one of them on every master and names what is
// missing. Sentinels need only what every user of them has by default. With TLS
// the certificates must name what the servers announce, which are addresses
// unless "announce hostnames" is set up.
package redis
