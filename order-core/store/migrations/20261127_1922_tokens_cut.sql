-- Access tokens without a session that were signed up to this instant are not good any more.
ALTER TABLE users ADD COLUMN tokens_cut_at_ms BIGINT NOT NULL DEFAULT 0;
