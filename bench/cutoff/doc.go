// Package cutoff measures the cut-off on three real nodes that share one
// PostgreSQL and one Redis on loopback: how long the SCIM call takes that
// deactivates a member, how long before its answer each node admitted his last
// request, and what an admitted request costs Redis and SQL.
//
//	go test -bench . -benchtime 1x ./bench/cutoff
//
// It owns the benchmark only. It must not be imported. "make cutoff" writes the
// same figures to docs/cutoff.md.
package cutoff
