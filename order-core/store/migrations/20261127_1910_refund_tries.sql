-- Tries to have a refund sent, and when the next one is. A refund that failed too often is `parked` until an admin has it
-- tried again.
ALTER TABLE refunds ADD COLUMN tries BIGINT NOT NULL DEFAULT 0;
ALTER TABLE refunds ADD COLUMN next_try_at_ms BIGINT NOT NULL DEFAULT 0;
ALTER TABLE refunds ADD COLUMN last_error VARCHAR(300);
CREATE INDEX refunds_by_try ON refunds (status, next_try_at_ms, id);
