-- The flight recorder of SCIM: what each identity provider asked and was told,
-- for scim.log_days; and what it last said of each resource.

-- +goose Up

CREATE TABLE scim_log (
	id         BIGINT PRIMARY KEY, -- unix milliseconds * 2^20 + a random part: in order of time
	connection TEXT NOT NULL,      -- '' = refused before it was known
	token      TEXT NOT NULL,      -- its name
	client     TEXT NOT NULL,      -- which identity provider it looks like
	method     TEXT NOT NULL,
	path       TEXT NOT NULL,      -- below the base URL, with the parameters of a list
	meaning    TEXT NOT NULL,
	status     BIGINT NOT NULL,
	scim_type  TEXT NOT NULL,
	detail     TEXT NOT NULL,
	tolerated  TEXT NOT NULL,      -- rules, with a comma between
	took       BIGINT NOT NULL,    -- microseconds
	resource   TEXT NOT NULL,      -- id of the member or team
	subject    TEXT NOT NULL,      -- its name, folded
	sessions   BIGINT NOT NULL,    -- ended by it
	request    TEXT NOT NULL,      -- redacted bodies
	response   TEXT NOT NULL,
	request_id TEXT NOT NULL,
	address    TEXT NOT NULL
);
CREATE INDEX scim_log_connection ON scim_log (connection, id);
CREATE INDEX scim_log_resource ON scim_log (resource, id);
CREATE INDEX scim_log_subject ON scim_log (subject, id);

CREATE TABLE scim_said (
	connection TEXT NOT NULL,
	kind       TEXT NOT NULL, -- User or Group
	resource   TEXT NOT NULL, -- its id; 'name:' and the folded name where none was given
	log        BIGINT NOT NULL,
	made       BIGINT NOT NULL,
	status     BIGINT NOT NULL,
	meaning    TEXT NOT NULL,
	said       TEXT NOT NULL, -- JSON of the attributes that were asked for
	PRIMARY KEY (connection, kind, resource)
);
