-- One holder at a time, for as long as it says so again.
--
-- KEYS  lease
-- ARGV  who asks, for how many ms (0: gives it back)
-- Answers 1 where the asker holds it now.

local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then
    redis.call('DEL', KEYS[1])
    return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
