-- Goes up when a claim on the user's cart in Redis is given up: no claim of an earlier epoch becomes an order.
ALTER TABLE users ADD COLUMN cart_epoch BIGINT NOT NULL DEFAULT 0;
