-- How often the platform was asked about a payment whose money has not come, and when it is asked next. NULL: it is not
-- asked any more.
ALTER TABLE payments ADD COLUMN queries BIGINT NOT NULL DEFAULT 0;
ALTER TABLE payments ADD COLUMN next_query_at_ms BIGINT;
UPDATE payments SET next_query_at_ms = 0 WHERE status = 'open';
CREATE INDEX payments_by_query ON payments (next_query_at_ms, id);
