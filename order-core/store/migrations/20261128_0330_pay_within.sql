-- How long the orders of a sale wait for their payment. NULL: as long as all other orders.
ALTER TABLE activities ADD COLUMN pay_within_ms BIGINT;
