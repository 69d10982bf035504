-- The term of each ledger that was restarted at least once, as the journal has it.
CREATE TABLE terms (
    activity_id BIGINT NOT NULL PRIMARY KEY,
    term BIGINT NOT NULL,
    -- The recovery that the term began with has ended.
    is_open BIGINT NOT NULL,
    -- A promise of an older term became a failed order, which the ledger may hold all the same.
    has_failed BIGINT NOT NULL
);

-- Holds that arrived behind the start of a newer term, until that term opens. They become failed orders then, unless the
-- recovery has kept them.
CREATE TABLE promises (
    order_id BIGINT NOT NULL PRIMARY KEY,
    activity_id BIGINT NOT NULL,
    user_id BIGINT NOT NULL,
    request_key BLOB,
    quantity BIGINT NOT NULL,
    at_ms BIGINT NOT NULL
);
CREATE INDEX promises_by_activity ON promises (activity_id, order_id);

-- One row: the last term that was drawn, for whichever ledger, and the id of its draw.
CREATE TABLE ledger_terms (
    id BIGINT NOT NULL PRIMARY KEY,
    last_term BIGINT NOT NULL,
    draw_id BIGINT NOT NULL
);
INSERT INTO ledger_terms (id, last_term, draw_id) VALUES (1, 0, 0);
