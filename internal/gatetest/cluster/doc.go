// Package cluster runs several real ssogate processes behind one origin, sharing
// one PostgreSQL and one Redis (a single server, Sentinel or Cluster), breaks
// what connects them, and judges the history of what their clients were answered.
//
//	cluster.go   the installation: config, identity provider, application, nodes
//	node.go      one process and its own ways to SQL and Redis, which can be cut
//	redis.go     the three forms of Redis, and their failover
//	client.go    clients that note when the first byte of each request was sent
//	streams.go   WebSockets and event streams, and proof that they are dead
//	history.go   what was answered, and the judgement (guarantee G1)
//	faults.go    what is broken, and what is allowed while it is
//	rounds.go    deactivate, re-activate, again and again
//	report.go    the figures, as text for docs/cutoff.md
//	steady.go    what an admitted request costs the stores
//
// It owns the processes it starts. It must not be imported by anything but tests
// and benchmarks.
package cluster
