-- Removes what the log has acknowledged from an outbox, unless the ledger was closed meanwhile: entries that reached the
-- log behind the start of a new term do not count, and are still needed here.
--
-- KEYS  ledger, outbox
-- ARGV  term, the first id that stays
-- Answers 1, or 0 where the ledger is not open in this term.

local l = redis.call('HMGET', KEYS[1], 'term', 'run')
if l[1] ~= ARGV[1] or l[2] ~= run_id('') then return 0 end
redis.call('XTRIM', KEYS[2], 'MINID', ARGV[2])
return 1
