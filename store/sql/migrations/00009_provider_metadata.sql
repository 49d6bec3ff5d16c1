-- The last good metadata of identity providers, and what of it waits for approval.

-- +goose Up

CREATE TABLE provider_metadata (
	provider TEXT PRIMARY KEY,
	value    BYTEA NOT NULL, -- JSON, see sso/saml; public facts, so it is not sealed
	version  BIGINT NOT NULL -- a write names the one that it replaces
);
