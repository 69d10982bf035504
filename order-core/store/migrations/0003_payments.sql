-- How an order was sent; JSON.
ALTER TABLE orders ADD COLUMN shipment TEXT;

CREATE INDEX refunds_by_status ON refunds (status, id);

-- Money at the platform that the mall plays itself. `notify_at_ms` is NULL once the shop knows, or never will.
CREATE TABLE mock_trades (
    payment_id BIGINT NOT NULL PRIMARY KEY,
    trade_no VARCHAR(64) NOT NULL UNIQUE,
    amount_cents BIGINT NOT NULL CHECK (amount_cents >= 0),
    notify_url TEXT NOT NULL,
    status VARCHAR(16) NOT NULL,
    tries BIGINT NOT NULL,
    notify_at_ms BIGINT
);
CREATE INDEX mock_trades_by_notice ON mock_trades (notify_at_ms);
