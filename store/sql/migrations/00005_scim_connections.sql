-- OAuth 2.0 clients of SCIM connections, and which connections are paused.

-- +goose Up

CREATE TABLE scim_clients (
	id           TEXT PRIMARY KEY, -- client_id
	connection   TEXT NOT NULL,
	name         TEXT NOT NULL,
	hash         TEXT NOT NULL UNIQUE, -- of the client secret
	created      BIGINT NOT NULL,
	creator      TEXT NOT NULL,
	expires      BIGINT NOT NULL,
	last_used    BIGINT NOT NULL,
	last_address TEXT NOT NULL
);
CREATE INDEX scim_clients_connection ON scim_clients (connection, created, id);

CREATE TABLE scim_pauses (
	connection TEXT PRIMARY KEY,
	since      BIGINT NOT NULL,
	actor      TEXT NOT NULL,
	reason     TEXT NOT NULL
);
