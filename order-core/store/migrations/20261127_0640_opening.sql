-- Set in the transaction that decides to open the sale's ledger. From then on the sale's units are the ledger's:
-- only the journal gives them back.
ALTER TABLE activities ADD COLUMN opening BIGINT NOT NULL DEFAULT 0;
UPDATE activities SET opening = 1 WHERE id IN (SELECT activity_id FROM ledgers);
