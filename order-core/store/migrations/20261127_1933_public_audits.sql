-- Sales whose audit anybody may watch.
CREATE TABLE public_audits (
    activity_id BIGINT NOT NULL PRIMARY KEY,
    FOREIGN KEY (activity_id) REFERENCES activities (id)
);
