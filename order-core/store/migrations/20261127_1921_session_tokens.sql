-- When a session's token was last replaced: for a few seconds after that, its predecessor is still answered.
ALTER TABLE sessions ADD COLUMN rotated_at_ms BIGINT NOT NULL DEFAULT 0;
