-- Where an order goes, as the address was then; JSON.
ALTER TABLE orders ADD COLUMN address TEXT;

-- What one cost when it was put into the cart.
ALTER TABLE cart_items ADD COLUMN price_cents BIGINT NOT NULL DEFAULT 0;

-- Orders by the Idempotency-Key that they were asked for with: written with the order, so kept as long.
CREATE TABLE order_requests (
    user_id BIGINT NOT NULL,
    request_key VARCHAR(128) NOT NULL,
    body_hash BLOB NOT NULL,
    order_id BIGINT NOT NULL,
    PRIMARY KEY (user_id, request_key),
    FOREIGN KEY (order_id) REFERENCES orders (id)
);
