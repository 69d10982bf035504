-- The order that late money bought in place of a closed one; there is one at most. Orders that were replaced before
-- this column can't be told from others.
ALTER TABLE orders ADD COLUMN replaced_by BIGINT;
