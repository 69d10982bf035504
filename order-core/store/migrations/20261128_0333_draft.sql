-- A draft is known to admins alone until it is published.
ALTER TABLE activities ADD COLUMN draft BIGINT NOT NULL DEFAULT 0;
