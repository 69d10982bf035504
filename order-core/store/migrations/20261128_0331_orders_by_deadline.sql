-- Unpaid orders whose time is over are found by their rows too: those of a sale with a time of its own have no record on the
-- log, and a record may be lost before it is due.
CREATE INDEX orders_by_deadline ON orders (status, expires_at_ms);
