-- Sessions and pending sign-ins of the embedded mode (no Redis configured).
-- No reference to members: a session must end because of its epoch, not because
-- a row is gone, and a sweep must never fail on one.

-- +goose Up

CREATE TABLE sessions (
	hash          TEXT PRIMARY KEY,
	version       BIGINT NOT NULL,
	member        TEXT NOT NULL,
	epoch         BIGINT NOT NULL,
	provider      TEXT NOT NULL,
	session_index TEXT NOT NULL,
	issued        BIGINT NOT NULL,
	last_seen     BIGINT NOT NULL,
	expires       BIGINT NOT NULL,
	address       TEXT NOT NULL,
	user_agent    TEXT NOT NULL
);
CREATE INDEX sessions_member  ON sessions (member, epoch);
CREATE INDEX sessions_expires ON sessions (expires);

CREATE TABLE pending (
	kind    TEXT NOT NULL,
	hash    TEXT NOT NULL,
	value   BYTEA NOT NULL,
	size    BIGINT NOT NULL,
	expires BIGINT NOT NULL,
	PRIMARY KEY (kind, hash)
);
CREATE INDEX pending_expires ON pending (kind, expires);

-- What the records of a kind amount to, so that the budget (C13) costs one row
-- to check. Changed only together with pending, by whoever holds this row.
CREATE TABLE pending_budget (
	kind    TEXT PRIMARY KEY,
	records BIGINT NOT NULL,
	bytes   BIGINT NOT NULL
);
