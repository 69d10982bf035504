-- Dead letters that staff have replayed or dropped. The id is the offset of the letter in its topic.
CREATE TABLE decided_letters (
    id BIGINT NOT NULL PRIMARY KEY,
    decision VARCHAR(16) NOT NULL,
    reason VARCHAR(200) NOT NULL,
    decided_at_ms BIGINT NOT NULL
);
