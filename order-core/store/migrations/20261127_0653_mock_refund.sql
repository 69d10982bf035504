-- The refund that gave a trade's money back. NULL until then, and for trades that were refunded before this column.
ALTER TABLE mock_trades ADD COLUMN refund_id BIGINT;
