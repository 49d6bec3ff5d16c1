-- How identity providers name a session when they end it, and what they want to be
-- told when it ends here.

-- +goose Up

CREATE TABLE signouts (
	hash     TEXT PRIMARY KEY, -- of the session
	member   TEXT NOT NULL,
	provider TEXT NOT NULL,
	person   TEXT NOT NULL, -- SHA-256 of what the provider calls him, or empty
	idx      TEXT NOT NULL, -- SHA-256 of its own session, or empty
	named    BYTEA NOT NULL, -- JSON: person and index as they are
	hint     BYTEA NOT NULL, -- sealed with the seal key, for this session only; or empty
	expires  BIGINT NOT NULL
);
CREATE INDEX signouts_person ON signouts (provider, person);
CREATE INDEX signouts_idx ON signouts (provider, idx);
CREATE INDEX signouts_expires ON signouts (expires);
