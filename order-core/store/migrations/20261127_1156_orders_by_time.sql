-- What sold in the last 30 days is summed up once a minute, for the order of search results.
CREATE INDEX orders_by_time ON orders (created_at_ms, id);
