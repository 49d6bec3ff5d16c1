-- One text for SQLite and PostgreSQL: TEXT, BIGINT and BYTEA mean the same to
-- both (SQLite: INTEGER affinity; a blob stays a blob). Times are unix
-- milliseconds, booleans 0 or 1. Empty strings, never NULL: no third value.

-- +goose Up

CREATE TABLE members (
	id               TEXT PRIMARY KEY,
	user_name        TEXT NOT NULL,
	user_name_folded TEXT NOT NULL,
	user_name_key    TEXT NOT NULL UNIQUE, -- lookalikes share it: a taken name, never a match
	display_name     TEXT NOT NULL,
	display_folded   TEXT NOT NULL,
	given_name       TEXT NOT NULL,
	given_folded     TEXT NOT NULL,
	family_name      TEXT NOT NULL,
	family_folded    TEXT NOT NULL,
	email            TEXT NOT NULL,
	email_folded     TEXT NOT NULL,
	role             TEXT NOT NULL,
	source           TEXT NOT NULL,
	fallback         BIGINT NOT NULL,
	wish             BIGINT NOT NULL,
	accepted         BIGINT NOT NULL,
	suspended        BIGINT NOT NULL,
	epoch            BIGINT NOT NULL,
	version          BIGINT NOT NULL,
	connection       TEXT NOT NULL,
	external_id      TEXT NOT NULL,
	document         TEXT NOT NULL,
	created          BIGINT NOT NULL,
	modified         BIGINT NOT NULL
);
CREATE INDEX members_listed   ON members (connection, created, id);
CREATE INDEX members_external ON members (connection, external_id);
CREATE INDEX members_email    ON members (email_folded);
CREATE INDEX members_modified ON members (connection, modified);

CREATE TABLE identities (
	provider TEXT NOT NULL,
	issuer   TEXT NOT NULL,
	subject  TEXT NOT NULL,
	member   TEXT NOT NULL REFERENCES members (id) ON DELETE CASCADE,
	PRIMARY KEY (provider, issuer, subject)
);
CREATE INDEX identities_member ON identities (member);

-- No reference to members: a tombstone outlives its member.
CREATE TABLE tombstones (
	provider TEXT NOT NULL,
	issuer   TEXT NOT NULL,
	subject  TEXT NOT NULL,
	member   TEXT NOT NULL,
	made     BIGINT NOT NULL,
	PRIMARY KEY (provider, issuer, subject)
);
CREATE INDEX tombstones_member ON tombstones (member);

CREATE TABLE teams (
	id             TEXT PRIMARY KEY,
	slug           TEXT NOT NULL UNIQUE,
	display_name   TEXT NOT NULL,
	display_folded TEXT NOT NULL,
	connection     TEXT NOT NULL,
	external_id    TEXT NOT NULL,
	version        BIGINT NOT NULL,
	created        BIGINT NOT NULL,
	modified       BIGINT NOT NULL,
	UNIQUE (connection, display_folded)
);
CREATE INDEX teams_listed   ON teams (connection, created, id);
CREATE INDEX teams_external ON teams (connection, external_id);

CREATE TABLE team_members (
	team   TEXT NOT NULL REFERENCES teams (id) ON DELETE CASCADE,
	member TEXT NOT NULL REFERENCES members (id) ON DELETE CASCADE,
	PRIMARY KEY (team, member)
);
CREATE INDEX team_members_member ON team_members (member);

CREATE TABLE invitations (
	token    TEXT PRIMARY KEY,
	member   TEXT NOT NULL REFERENCES members (id) ON DELETE CASCADE,
	email    TEXT NOT NULL,
	provider TEXT NOT NULL,
	expires  BIGINT NOT NULL,
	accepted BIGINT NOT NULL,
	created  BIGINT NOT NULL
);
CREATE INDEX invitations_member ON invitations (member);

-- The revocation log and the one row that numbers it.
CREATE TABLE revocations (
	seq    BIGINT PRIMARY KEY,
	kind   TEXT NOT NULL,
	scope  TEXT NOT NULL,
	target TEXT NOT NULL,
	epoch  BIGINT NOT NULL,
	reason TEXT NOT NULL,
	made   BIGINT NOT NULL
);
CREATE INDEX revocations_target ON revocations (scope, target, seq);

CREATE TABLE revocation_counter (
	one BIGINT PRIMARY KEY CHECK (one = 1),
	seq BIGINT NOT NULL
);
INSERT INTO revocation_counter (one, seq) VALUES (1, 0);

CREATE TABLE ended_sessions (
	hash   TEXT PRIMARY KEY,
	member TEXT NOT NULL,
	until  BIGINT NOT NULL,
	reason TEXT NOT NULL
);
CREATE INDEX ended_sessions_until ON ended_sessions (until);

-- The audit chain and its head: the head makes a cut-off tail visible.
CREATE TABLE audit (
	seq        BIGINT PRIMARY KEY,
	made       BIGINT NOT NULL,
	kind       TEXT NOT NULL,
	outcome    TEXT NOT NULL,
	actor      TEXT NOT NULL,
	target     TEXT NOT NULL,
	provider   TEXT NOT NULL,
	request_id TEXT NOT NULL,
	address    TEXT NOT NULL,
	reason     TEXT NOT NULL,
	detail     TEXT NOT NULL,
	hash       TEXT NOT NULL
);
CREATE INDEX audit_target ON audit (target, seq);

CREATE TABLE audit_head (
	one  BIGINT PRIMARY KEY CHECK (one = 1),
	seq  BIGINT NOT NULL,
	hash TEXT NOT NULL
);
INSERT INTO audit_head (one, seq, hash) VALUES (1, 0, '');

CREATE TABLE scim_tokens (
	id           TEXT PRIMARY KEY,
	connection   TEXT NOT NULL,
	name         TEXT NOT NULL,
	hash         TEXT NOT NULL UNIQUE,
	created      BIGINT NOT NULL,
	creator      TEXT NOT NULL,
	expires      BIGINT NOT NULL,
	last_used    BIGINT NOT NULL,
	last_address TEXT NOT NULL
);
CREATE INDEX scim_tokens_connection ON scim_tokens (connection, created, id);

CREATE TABLE sealed_keys (
	name   TEXT PRIMARY KEY,
	sealed BYTEA NOT NULL
);
