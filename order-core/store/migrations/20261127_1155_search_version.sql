-- Counts the changes of what the search index holds of a product: texts, shelf, SKUs, prices, the names of its
-- categories, and whether a SKU is in stock. An index never replaces a higher number by a lower one.
ALTER TABLE products ADD COLUMN search_version BIGINT NOT NULL DEFAULT 1;
