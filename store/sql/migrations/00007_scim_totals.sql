-- How many resources each connection has, and how many were removed so far: what
-- a list answers as its total without counting a million rows.

-- +goose Up

CREATE TABLE scim_totals (
	connection TEXT NOT NULL,
	kind       TEXT NOT NULL, -- members or teams
	n          BIGINT NOT NULL,
	removed    BIGINT NOT NULL,
	PRIMARY KEY (connection, kind)
);
INSERT INTO scim_totals (connection, kind, n, removed) SELECT connection, 'members', count(*), 0 FROM members GROUP BY connection;
INSERT INTO scim_totals (connection, kind, n, removed) SELECT connection, 'teams', count(*), 0 FROM teams GROUP BY connection;
