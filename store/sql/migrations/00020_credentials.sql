-- What people sign in with here: passwords, second factors, one-time links, the
-- counters that slow guessing, and each use of the break-glass way in.

-- +goose Up

CREATE TABLE credentials (
	member    TEXT PRIMARY KEY REFERENCES members (id) ON DELETE CASCADE,
	password  TEXT NOT NULL,   -- argon2id in PHC form; never empty
	totp      BYTEA NOT NULL,  -- sealed with the seal key; empty = none
	totp_step BIGINT NOT NULL, -- the last step that was used
	updated   BIGINT NOT NULL
);
CREATE TABLE recovery_codes (
	hash   TEXT PRIMARY KEY, -- of member and code
	member TEXT NOT NULL REFERENCES members (id) ON DELETE CASCADE,
	used   BIGINT NOT NULL
);
CREATE INDEX recovery_codes_member ON recovery_codes (member);
CREATE TABLE credential_links (
	hash    TEXT PRIMARY KEY, -- of the token
	member  TEXT NOT NULL REFERENCES members (id) ON DELETE CASCADE,
	purpose TEXT NOT NULL,    -- setup, reset
	created BIGINT NOT NULL,
	expires BIGINT NOT NULL,
	used    BIGINT NOT NULL
);
CREATE INDEX credential_links_member  ON credential_links (member);
CREATE INDEX credential_links_expires ON credential_links (expires);
CREATE TABLE attempts (
	name     TEXT PRIMARY KEY, -- a hash: neither addresses nor mistyped names are kept
	failures BIGINT NOT NULL,
	last     BIGINT NOT NULL
);
CREATE INDEX attempts_last ON attempts (last);
-- No reference to members: who got in stays known when he is gone.
CREATE TABLE fallback_uses (
	id           TEXT PRIMARY KEY,
	member       TEXT NOT NULL,
	user_name    TEXT NOT NULL,
	made         BIGINT NOT NULL,
	address      TEXT NOT NULL,
	request      TEXT NOT NULL,
	factor       TEXT NOT NULL, -- totp, recovery_code
	acknowledged BIGINT NOT NULL,
	acknowledger TEXT NOT NULL
);
CREATE INDEX fallback_uses_open ON fallback_uses (acknowledged, made);
