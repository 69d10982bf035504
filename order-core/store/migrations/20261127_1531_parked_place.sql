-- Where an entry that waits is taken in: behind which start of a term (its offset; 0 where none waits), because what is
-- behind it and of an older term does not count; and there by its rank, which is twice its number, and one more for marks.
ALTER TABLE parked_entries ADD COLUMN journal_offset BIGINT NOT NULL DEFAULT 0;
ALTER TABLE parked_entries ADD COLUMN place BIGINT NOT NULL DEFAULT 0;
UPDATE parked_entries SET seq = seq * 2 WHERE seq < 4000000000000000000;
CREATE INDEX parked_entries_by_place ON parked_entries (activity_id, place, seq, id);
