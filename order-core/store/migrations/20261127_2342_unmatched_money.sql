-- Money that fits nothing in the shop: told by a notice, by the platform's answer, or by its bill. An admin finds out where it
-- belongs.
CREATE TABLE unmatched_money (
    id BIGINT NOT NULL PRIMARY KEY,
    method VARCHAR(16) NOT NULL,
    trade_no VARCHAR(64) NOT NULL,
    -- Such as `wrong_amount`.
    reason VARCHAR(32) NOT NULL,
    -- The id of a payment or a refund, where the platform names one.
    subject_id BIGINT NOT NULL,
    amount_cents BIGINT NOT NULL,
    seen_at_ms BIGINT NOT NULL,
    resolved_at_ms BIGINT,
    resolution VARCHAR(200),
    UNIQUE (method, trade_no, reason, subject_id)
);
CREATE INDEX unmatched_money_by_state ON unmatched_money (resolved_at_ms, id);
