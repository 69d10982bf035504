-- Closes one activity's ledger for a new term: every script answers FROZEN until the ledger is rebuilt and opened in it.
--
-- KEYS  ledger
-- ARGV  term
-- Answers 1, or TERM where the ledger is in this term or a higher one: somebody else recovers it.

local term = redis.call('HGET', KEYS[1], 'term')
if term and tonumber(term) >= tonumber(ARGV[1]) then
    return redis.error_reply('TERM the ledger is in term ' .. term)
end
redis.call('HSET', KEYS[1], 'term', ARGV[1], 'run', CLOSED)
return 1
