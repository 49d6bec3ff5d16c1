// Package sql keeps what must survive: members, teams, invitations, the
// revocation log, the audit chain, SCIM tokens, sealed keys and refresh tokens,
// and (in embedded mode) sessions and pending sign-ins.
//
// It owns: [Open], the migrations, the transactions, and the rendering of SCIM
// filters. [DB] implements member.Store, audit.Recorder, scim.Searcher,
// scim.Tokens, session.Log, session.Registry, session.Finisher, session.Store,
// sso.Pending, refresh.Store and local.Store. It must not decide anything: the rules of members
// live in member.Directory, those of sessions in session, those of refresh tokens
// in sso/refresh.
//
// One SQL text serves both engines. What differs is argued where it stands:
// opening (sqlite.go, postgres.go), the row lock of reads inside an update
// (tx.go, grants.go), the registry of nodes (nodes.go), writing idle times back
// (touch.go), and nothing else.
//
//	engine      reads                        updates                       nodes
//	SQLite      WAL snapshot, pool of 4      BEGIN IMMEDIATE, one writer   one: flock on PATH.lock, registry in memory
//	PostgreSQL  REPEATABLE READ, READ ONLY   READ COMMITTED + row locks    several: table nodes
//
// The lease loop and the registry have connections of their own on both.
//
// Times are BIGINT unix milliseconds (0 = never), booleans BIGINT 0 or 1, so
// that both engines compare and sort them alike whatever their locale.
//
// Lock order inside an update, the same everywhere so that two updates never
// wait for each other in a circle: rows of members and teams, then the head of
// the audit chain, then the revocation counter, last. The counter is held
// until commit, hence number order is commit order (protocols, C1).
package sql
