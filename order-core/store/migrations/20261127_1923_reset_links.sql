-- The one-time link with which a shopper sets a new password. A user has one at most.
CREATE TABLE reset_links (
    user_id BIGINT NOT NULL PRIMARY KEY,
    token_hash VARCHAR(64) NOT NULL UNIQUE,
    expires_at_ms BIGINT NOT NULL,
    FOREIGN KEY (user_id) REFERENCES users (id)
);
CREATE INDEX reset_links_by_expiry ON reset_links (expires_at_ms);
