-- Several nodes on one database: who they are, what they have acknowledged, and
-- what a crashed one left to be tidied.

-- +goose Up

-- Only PostgreSQL uses it: embedded there is one process, which keeps the
-- registry in memory and writes nothing while idle.
CREATE TABLE nodes (
	id      TEXT PRIMARY KEY,
	name    TEXT NOT NULL,
	keys    TEXT NOT NULL,   -- ids of the keys in its config file
	applied BIGINT NOT NULL,
	calls   BIGINT NOT NULL, -- raised by each call: whoever sees it stand still need not compare clocks
	seen    BIGINT NOT NULL  -- the last call, by this server's clock; for people
);

-- Rows made before this column existed were tidied by the process that made them.
ALTER TABLE revocations ADD COLUMN finished BIGINT NOT NULL DEFAULT 1;
CREATE INDEX revocations_unfinished ON revocations (seq) WHERE finished = 0;
-- What ends many sessions by one row: asked for by every uncached admission.
CREATE INDEX revocations_wide ON revocations (scope, target, seq) WHERE kind = 'end' AND scope IN ('all', 'provider', 'logins');

-- The revocation log's number at sign-in. 0, of sessions from before, is below any row.
ALTER TABLE sessions ADD COLUMN seq BIGINT NOT NULL DEFAULT 0;

CREATE TABLE settings_version (
	one     BIGINT PRIMARY KEY CHECK (one = 1),
	version BIGINT NOT NULL
);
INSERT INTO settings_version (one, version) VALUES (1, 1);

-- A random name of this database, claimed in Redis, so that two of them never
-- share one session store by mistake. Written by the first process that opens it.
CREATE TABLE directory_id (
	one BIGINT PRIMARY KEY CHECK (one = 1),
	id  TEXT NOT NULL
);

-- The ring of cookie keys. A key of the config file has no sealed value here:
-- its row only says what became of it.
CREATE TABLE cookie_keys (
	id      TEXT PRIMARY KEY,
	sealed  BYTEA NOT NULL,
	state   TEXT NOT NULL, -- next, current, previous, retired
	changed BIGINT NOT NULL
);
-- One rotation at a time, whoever starts it where.
CREATE UNIQUE INDEX cookie_keys_one ON cookie_keys (state) WHERE state IN ('next', 'current');
