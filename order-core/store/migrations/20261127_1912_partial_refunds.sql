-- What went back of an order so far, and which units of its lines.
ALTER TABLE orders ADD COLUMN refunded_cents BIGINT NOT NULL DEFAULT 0;
ALTER TABLE order_lines ADD COLUMN refunded_quantity BIGINT NOT NULL DEFAULT 0;
UPDATE orders SET refunded_cents = total_cents WHERE status = 'refunded';
UPDATE order_lines SET refunded_quantity = quantity
WHERE order_id IN (SELECT o.id FROM orders o WHERE o.status = 'refunded');

-- Whether units that were not shipped return to the stock with the refund.
ALTER TABLE refunds ADD COLUMN restock BIGINT NOT NULL DEFAULT 1;

-- The units that a refund is for. A refund of an amount, or of all that is left of an order, has none.
CREATE TABLE refund_lines (
    refund_id BIGINT NOT NULL,
    line_no BIGINT NOT NULL,
    quantity BIGINT NOT NULL CHECK (quantity >= 1),
    PRIMARY KEY (refund_id, line_no),
    FOREIGN KEY (refund_id) REFERENCES refunds (id)
);

-- Refunds of the mock platform's trades, of which a trade may have several.
CREATE TABLE mock_refunds (
    id BIGINT NOT NULL PRIMARY KEY,
    payment_id BIGINT NOT NULL,
    amount_cents BIGINT NOT NULL CHECK (amount_cents >= 0),
    FOREIGN KEY (payment_id) REFERENCES mock_trades (payment_id)
);
CREATE INDEX mock_refunds_by_payment ON mock_refunds (payment_id);
INSERT INTO mock_refunds (id, payment_id, amount_cents)
SELECT refund_id, payment_id, amount_cents FROM mock_trades WHERE refund_id IS NOT NULL;
