-- When a buyer hears of a yes: once the ledger has decided (`script`), or once the gateway has read it on the journal (`log`).
ALTER TABLE activities ADD COLUMN answer_after VARCHAR(16) NOT NULL DEFAULT 'script';
