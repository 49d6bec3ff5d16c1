-- When a session's person last showed credentials to the identity provider, as it
-- said itself: in milliseconds, 0 where it did not.

-- +goose Up

ALTER TABLE sessions ADD COLUMN auth_time BIGINT NOT NULL DEFAULT 0;
