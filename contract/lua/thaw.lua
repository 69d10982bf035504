-- A ledger that was compared with the log and lacks nothing goes on under the server's new run.
--
-- KEYS  ledger
-- ARGV  the run it is frozen under, its seq when it was compared
-- Answers 1, or 0 where it has moved since.

local l = redis.call('HMGET', KEYS[1], 'run', 'seq')
if l[1] ~= ARGV[1] or l[2] ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], 'run', run_id(''))
redis.call('HINCRBY', KEYS[1], 'epoch', 1)
return 1
