-- Addresses from which an account has signed in, as digests: wrong passwords from elsewhere do not delay them.
CREATE TABLE known_clients (
    realm VARCHAR(16) NOT NULL,
    account_id BIGINT NOT NULL,
    client VARCHAR(32) NOT NULL,
    seen_at_ms BIGINT NOT NULL,
    PRIMARY KEY (realm, account_id, client)
);
CREATE INDEX known_clients_by_time ON known_clients (seen_at_ms);
