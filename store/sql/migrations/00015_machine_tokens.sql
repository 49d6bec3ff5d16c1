-- Service tokens: what programs show instead of signing in.

-- +goose Up

CREATE TABLE machine_tokens (
	id           TEXT PRIMARY KEY,
	name         TEXT NOT NULL, -- of the machine; several tokens may have it
	hash         TEXT NOT NULL UNIQUE,
	routes       TEXT NOT NULL, -- names, with a space between; a token is never changed
	teams        TEXT NOT NULL, -- slugs, likewise
	created      BIGINT NOT NULL,
	creator      TEXT NOT NULL,
	expires      BIGINT NOT NULL,
	last_used    BIGINT NOT NULL,
	last_address TEXT NOT NULL
);
