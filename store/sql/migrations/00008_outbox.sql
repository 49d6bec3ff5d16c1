-- Letters that wait to be sent, and what became of them.

-- +goose Up

ALTER TABLE invitations ADD COLUMN opened BIGINT NOT NULL DEFAULT 0;

CREATE TABLE outbox (
	id           TEXT PRIMARY KEY,
	member       TEXT NOT NULL, -- no reference: a letter outlives its member, as one that was dropped
	invitation   TEXT NOT NULL, -- hash of its token, or ''
	sealed       BYTEA NOT NULL, -- sealed with the seal key; emptied when the letter is done with
	state        TEXT NOT NULL, -- queued, sent, failed, dropped
	reason       TEXT NOT NULL,
	created      BIGINT NOT NULL,
	due          BIGINT NOT NULL,
	attempts     BIGINT NOT NULL,
	attempted    BIGINT NOT NULL,
	claim        TEXT NOT NULL,
	leased_until BIGINT NOT NULL,
	finished     BIGINT NOT NULL
);
CREATE INDEX outbox_due       ON outbox (state, due);
CREATE INDEX outbox_attempted ON outbox (attempted);
CREATE INDEX outbox_member    ON outbox (member);

-- Whoever claims letters locks this row: the rate holds for all nodes together.
CREATE TABLE outbox_turn (
	one  BIGINT PRIMARY KEY CHECK (one = 1),
	turn BIGINT NOT NULL
);
INSERT INTO outbox_turn (one, turn) VALUES (1, 0);
