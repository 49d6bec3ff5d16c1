-- The part of the Auth record that is changed while ssogate runs, as versions; what
-- tests of providers ended in; and what was fixed about a provider for ever.

-- +goose Up

CREATE TABLE settings_versions (
	number    BIGINT PRIMARY KEY,
	parent    BIGINT NOT NULL,
	state     TEXT NOT NULL,
	author    TEXT NOT NULL,
	comment   TEXT NOT NULL,
	created   BIGINT NOT NULL,
	published BIGINT NOT NULL, -- 0 = never
	sealed    BYTEA NOT NULL   -- JSON, sealed with the seal key: it holds client secrets
);
CREATE UNIQUE INDEX settings_published ON settings_versions (state) WHERE state = 'published';
CREATE TABLE settings_results (
	provider TEXT NOT NULL,
	digest   TEXT NOT NULL,
	passed   BIGINT NOT NULL,
	report   BYTEA NOT NULL,
	author   TEXT NOT NULL,
	made     BIGINT NOT NULL,
	PRIMARY KEY (provider, digest)
);
CREATE TABLE provider_names (
	id       TEXT PRIMARY KEY,
	protocol TEXT NOT NULL,
	issuer   TEXT NOT NULL
);
