-- The id of what the first request under an Idempotency-Key has made. It is written in the transaction that makes it.
ALTER TABLE idempotency ADD COLUMN made_id BIGINT;
