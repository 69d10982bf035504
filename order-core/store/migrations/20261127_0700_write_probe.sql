-- One row that is written to find out whether the database can be written at all.
CREATE TABLE write_probe (
    id BIGINT NOT NULL PRIMARY KEY,
    at_ms BIGINT NOT NULL
);
INSERT INTO write_probe (id, at_ms) VALUES (1, 0);
