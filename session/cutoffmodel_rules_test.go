package session

// breach is one rule of protocols.md section 1 that is not kept.
type breach int

const (
	nothing breach = iota
	numberOutsideTx
	replicaLease
	endsWhatIsListed
	retryDoesNotWait
	noTakeover
	asOfAfterReads
	asOfAtFill
	hitWithoutFloor
	floorsNotAsked
	writeThrough
	joinWithoutLease
	extendFromReceipt
	extendBeforeApplying
	extendOnFullBatch
	gapIgnored
	noEpochCompared
	noTombstone
	noWideMark
	touchCreates
	rowWithoutEpoch
	leaseBeforeJoin
	registryBeforeCommit
	reusedID
	leaveFirst
	expelledKeepsLease
	expelTooSoon
	expelByServerClock
	shortBound
	monotonicLease
	wallJumpIgnored
	noCheckAfterEntering
	ackBeforeCut
	twoSnapshots
	settingsNotReloaded
	reloadAfterAck
	graceOnce
)

// breaches names each with a fault under which it shows.
var breaches = []struct {
	b           breach
	name, fault string
	seed        int64 // of a round that shows it; when the model has changed, another is looked for
}{
	{b: numberOutsideTx, name: "C1: the number is taken before the transaction", fault: "none", seed: 3},
	{b: replicaLease, name: "C1: the lease is read from a replica", fault: "none", seed: 2},
	{b: endsWhatIsListed, name: "C1: a logout ends what the session store lists", fault: "redis flushed", seed: 19},
	{b: retryDoesNotWait, name: "C2: a retry that changes nothing does not wait", fault: "crash", seed: 67},
	{b: noTakeover, name: "C2: nobody tidies what a crashed node left", fault: "crash", seed: 4},
	{b: asOfAfterReads, name: "C3: asOf is taken after the reads", fault: "none", seed: 193},
	{b: asOfAtFill, name: "C3: asOf is taken when the cache is filled", fault: "none", seed: 51},
	{b: hitWithoutFloor, name: "C3: a hit does not ask the floors", fault: "none", seed: 11},
	{b: floorsNotAsked, name: "C3: floors are never asked", fault: "none", seed: 2},
	{b: writeThrough, name: "C3: a sign-in writes through without asOf", fault: "none", seed: 221},
	{b: joinWithoutLease, name: "C4: a flight is joined without a lease", fault: "slow reads", seed: 416},
	{b: extendFromReceipt, name: "C5: the lease counts from the answer", fault: "slow lease loop", seed: 354},
	{b: extendBeforeApplying, name: "C5: the lease is extended before the rows are applied", fault: "slow lease loop", seed: 1169},
	{b: extendOnFullBatch, name: "C5: the lease is extended by a full batch", fault: "slow lease loop", seed: 425},
	{b: gapIgnored, name: "C5: rows that were swept are taken as applied", fault: "gap", seed: 9},
	{b: noEpochCompared, name: "C6: epochs are not compared", fault: "none", seed: 8},
	{b: noTombstone, name: "C6: no tombstones", fault: "redis failover", seed: 5},
	{b: noWideMark, name: "C6: what ends everybody leaves no mark", fault: "none", seed: 3},
	{b: touchCreates, name: "C6: a touch creates", fault: "none", seed: 7},
	{b: rowWithoutEpoch, name: "C7: a row ends sessions of every epoch", fault: "none", seed: 57},
	{b: leaseBeforeJoin, name: "C8: a lease before the registration", fault: "join", seed: 7},
	{b: registryBeforeCommit, name: "C8: the registry is read before the commit", fault: "join", seed: 225},
	{b: reusedID, name: "C8: a new process takes over the id", fault: "drain", seed: 2},
	{b: leaveFirst, name: "C8: a draining node deregisters first", fault: "drain", seed: 2},
	{b: expelledKeepsLease, name: "C8: an expelled node keeps its lease", fault: "expel", seed: 27},
	{b: expelTooSoon, name: "C8: a node is expelled while its lease lives", fault: "expel", seed: 1},
	{b: expelByServerClock, name: "C8: silence is measured by the server's wall clock", fault: "expel", seed: 6},
	{b: shortBound, name: "C9: the publisher waits less than a lease", fault: "sql cut", seed: 16},
	{b: monotonicLease, name: "C9: the lease clock stands still in sleep", fault: "suspend", seed: 2},
	{b: wallJumpIgnored, name: "C9: a jump of the wall clock is ignored", fault: "vm paused", seed: 2},
	{b: noCheckAfterEntering, name: "C10: no check after registering", fault: "none", seed: 13},
	{b: ackBeforeCut, name: "C10: acknowledged before streams are cut", fault: "slow peers", seed: 1},
	{b: twoSnapshots, name: "C11: parts of two snapshots", fault: "none", seed: 12},
	{b: settingsNotReloaded, name: "C11: an older settings copy decides", fault: "sql cut", seed: 9},
	{b: reloadAfterAck, name: "C11: settings are reloaded after the acknowledgement", fault: "none", seed: 202},
	{b: graceOnce, name: "C12: streams are closed once per lost lease", fault: "lease call fails", seed: 35},
}
