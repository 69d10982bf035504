-- Sales whose journal the database can't take in at present, each since its first entry that was refused.
CREATE TABLE parked_activities (
    activity_id BIGINT NOT NULL PRIMARY KEY,
    reason VARCHAR(500) NOT NULL,
    since_ms BIGINT NOT NULL,
    tries BIGINT NOT NULL,
    next_try_ms BIGINT NOT NULL,
    -- Why nobody tries any more; NULL while it is tried.
    dropped_reason VARCHAR(200)
);

-- Their entries as the journal has them, in the order in which they came.
CREATE TABLE parked_entries (
    id BIGINT NOT NULL PRIMARY KEY,
    activity_id BIGINT NOT NULL,
    seq BIGINT NOT NULL,
    entry BLOB NOT NULL,
    FOREIGN KEY (activity_id) REFERENCES parked_activities (activity_id)
);
CREATE INDEX parked_entries_by_seq ON parked_entries (activity_id, seq, id);
