-- Refresh tokens of sessions whose provider is asked again and again whether the
-- person may still be signed in.

-- +goose Up

CREATE TABLE grants (
	hash         TEXT PRIMARY KEY, -- of the session
	member       TEXT NOT NULL,
	epoch        BIGINT NOT NULL,  -- this and seq as the session was stamped with them
	seq          BIGINT NOT NULL,
	provider     TEXT NOT NULL,
	issuer       TEXT NOT NULL,
	subject      TEXT NOT NULL,
	token        BYTEA NOT NULL,   -- sealed with the seal key, for this session only
	due          BIGINT NOT NULL,
	expires      BIGINT NOT NULL,  -- the session's absolute end
	claim        TEXT NOT NULL,    -- who is asking about it, '' = nobody
	leased_until BIGINT NOT NULL,
	failures     BIGINT NOT NULL
);
CREATE INDEX grants_due ON grants (provider, due);
