-- Staff look for the orders of whoever calls.
CREATE INDEX users_by_phone ON users (phone);
