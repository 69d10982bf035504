-- Accounts of staff can be disabled and changed. Access tokens that were issued before `tokens_from_ms` are refused.
ALTER TABLE admins ADD COLUMN disabled BIGINT NOT NULL DEFAULT 0;
ALTER TABLE admins ADD COLUMN tokens_from_ms BIGINT NOT NULL DEFAULT 0;
ALTER TABLE admins ADD COLUMN version BIGINT NOT NULL DEFAULT 1;

-- Sessions of the admin pages. The cookie holds the value that `token_hash` is the SHA-256 of.
CREATE TABLE admin_sessions (
    id BIGINT NOT NULL PRIMARY KEY,
    admin_id BIGINT NOT NULL,
    token_hash VARCHAR(64) NOT NULL UNIQUE,
    address VARCHAR(45) NOT NULL,
    created_at_ms BIGINT NOT NULL,
    expires_at_ms BIGINT NOT NULL,
    FOREIGN KEY (admin_id) REFERENCES admins (id)
);
CREATE INDEX admin_sessions_by_admin ON admin_sessions (admin_id, id);
