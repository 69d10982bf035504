-- Every change by staff, written in the transaction of the change. Rows are only ever inserted.
CREATE TABLE audit_log (
    id BIGINT NOT NULL PRIMARY KEY,
    at_ms BIGINT NOT NULL,
    admin_id BIGINT NOT NULL,
    username VARCHAR(64) NOT NULL,
    address VARCHAR(45) NOT NULL,
    -- The name of the write, such as `pause_sale`.
    action VARCHAR(32) NOT NULL,
    subject VARCHAR(32),
    subject_id BIGINT,
    -- JSON; NULL where there was or is nothing.
    state_before TEXT,
    state_after TEXT
);
CREATE INDEX audit_log_by_admin ON audit_log (admin_id, id);
CREATE INDEX audit_log_by_subject ON audit_log (subject, subject_id, id);
