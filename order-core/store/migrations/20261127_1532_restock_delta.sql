-- Units of a restock that an admin asked for, so that a ledger that forgot it can be told again; 0 in other rows.
ALTER TABLE inbox ADD COLUMN delta BIGINT NOT NULL DEFAULT 0;
