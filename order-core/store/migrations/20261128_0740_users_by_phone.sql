-- Staff look for the orders of a caller.
CREATE INDEX users_by_phone ON users (phone);
