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
}{
	{b: numberOutsideTx, name: "C1: the number is taken before the transaction", fault: "none"},
	{b: replicaLease, name: "C1: the lease is read from a replica", fault: "none"},
	{b: endsWhatIsListed, name: "C1: a logout ends what the session store lists", fault: "redis flushed"},
	{b: retryDoesNotWait, name: "C2: a retry that changes nothing does not wait", fault: "crash"},
	{b: noTakeover, name: "C2: nobody tidies what a crashed node left", fault: "crash"},
	{b: asOfAfterReads, name: "C3: asOf is taken after the reads", fault: "none"},
	{b: asOfAtFill, name: "C3: asOf is taken when the cache is filled", fault: "none"},
	{b: hitWithoutFloor, name: "C3: a hit does not ask the floors", fault: "none"},
	{b: floorsNotAsked, name: "C3: floors are never asked", fault: "none"},
	{b: writeThrough, name: "C3: a sign-in writes through without asOf", fault: "none"},
	{b: joinWithoutLease, name: "C4: a flight is joined without a lease", fault: "slow reads"},
	{b: extendFromReceipt, name: "C5: the lease counts from the answer", fault: "slow lease loop"},
	{b: extendBeforeApplying, name: "C5: the lease is extended before the rows are applied", fault: "slow lease loop"},
	{b: extendOnFullBatch, name: "C5: the lease is extended by a full batch", fault: "slow lease loop"},
	{b: gapIgnored, name: "C5: rows that were swept are taken as applied", fault: "gap"},
	{b: noEpochCompared, name: "C6: epochs are not compared", fault: "none"},
	{b: noTombstone, name: "C6: no tombstones", fault: "redis failover"},
	{b: noWideMark, name: "C6: what ends everybody leaves no mark", fault: "none"},
	{b: touchCreates, name: "C6: a touch creates", fault: "none"},
	{b: rowWithoutEpoch, name: "C7: a row ends sessions of every epoch", fault: "none"},
	{b: leaseBeforeJoin, name: "C8: a lease before the registration", fault: "join"},
	{b: registryBeforeCommit, name: "C8: the registry is read before the commit", fault: "join"},
	{b: reusedID, name: "C8: a new process takes over the id", fault: "drain"},
	{b: leaveFirst, name: "C8: a draining node deregisters first", fault: "drain"},
	{b: expelledKeepsLease, name: "C8: an expelled node keeps its lease", fault: "expel"},
	{b: expelTooSoon, name: "C8: a node is expelled while its lease lives", fault: "expel"},
	{b: expelByServerClock, name: "C8: silence is measured by the server's wall clock", fault: "expel"},
	{b: shortBound, name: "C9: the publisher waits less than a lease", fault: "sql cut"},
	{b: monotonicLease, name: "C9: the lease clock stands still in sleep", fault: "suspend"},
	{b: wallJumpIgnored, name: "C9: a jump of the wall clock is ignored", fault: "vm paused"},
	{b: noCheckAfterEntering, name: "C10: no check after registering", fault: "none"},
	{b: ackBeforeCut, name: "C10: acknowledged before streams are cut", fault: "slow peers"},
	{b: twoSnapshots, name: "C11: parts of two snapshots", fault: "none"},
	{b: settingsNotReloaded, name: "C11: an older settings copy decides", fault: "sql cut"},
	{b: reloadAfterAck, name: "C11: settings are reloaded after the acknowledgement", fault: "none"},
	{b: graceOnce, name: "C12: streams are closed once per lost lease", fault: "lease call fails"},
}
