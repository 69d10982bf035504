-- Closes one activity's ledger that was lost, or has lost a part: every script answers FROZEN until the ledger was
-- compared with the log.
--
-- KEYS  ledger
-- ARGV  token that becomes its run; not the id of any run
-- Answers 1, or 0 if it is already closed, being rebuilt, or frozen by a restart.

local run = redis.call('HGET', KEYS[1], 'run')
if run and run ~= run_id('') then return 0 end
redis.call('HSET', KEYS[1], 'run', ARGV[1])
return 1
