-- When the order was closed because nobody paid in time. NULL for all others, also for orders that their buyers cancelled
-- and for orders that were closed before this column.
ALTER TABLE orders ADD COLUMN timed_out_at_ms BIGINT;
