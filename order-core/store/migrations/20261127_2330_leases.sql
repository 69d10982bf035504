-- Work that one process at a time does. A lease passes on with a higher fencing number, which guards the holder's writes.
-- No column is a time: a holder is given up once its renewals have not been seen to grow for a while, by one's own clock.
CREATE TABLE leases (
    name VARCHAR(64) NOT NULL PRIMARY KEY,
    holder BIGINT NOT NULL,
    fencing_number BIGINT NOT NULL,
    renewals BIGINT NOT NULL,
    late_writes BIGINT NOT NULL
);
INSERT INTO leases (name, holder, fencing_number, renewals, late_writes) VALUES
    ('ledger-fence', 0, 0, 0, 0), ('outbox-relay', 0, 0, 0, 0), ('refunder', 0, 0, 0, 0), ('sweeper', 0, 0, 0, 0);
