-- Rows that can't matter any more are found by these.
CREATE INDEX sessions_by_expiry ON sessions (expires_at_ms);
CREATE INDEX order_requests_by_order ON order_requests (order_id);
