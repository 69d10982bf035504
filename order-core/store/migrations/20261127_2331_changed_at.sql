-- When what the compacted topics have of a sale was last changed: after an append whose outcome is not known, the newest
-- row is appended once more.
ALTER TABLE activities ADD COLUMN changed_at_ms BIGINT NOT NULL DEFAULT 0;
ALTER TABLE entry_rules ADD COLUMN changed_at_ms BIGINT NOT NULL DEFAULT 0;
CREATE INDEX activities_by_change ON activities (changed_at_ms);
CREATE INDEX entry_rules_by_change ON entry_rules (changed_at_ms);
