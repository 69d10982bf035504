-- Takes one of a sliding window, where there is room.
--
-- KEYS  window: what was taken, by when it was
-- ARGV  at most, within ms, now in epoch ms, what nobody else takes
-- Answers {1 or 0, how many are taken, ms until the oldest of them no longer counts}.

local call, window = redis.call, KEYS[1]
local max, within, now = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])

call('ZREMRANGEBYSCORE', window, '-inf', now - within)
local count, taken = call('ZCARD', window), 0
if count < max then
    call('ZADD', window, now, ARGV[4])
    call('PEXPIRE', window, within)
    count, taken = count + 1, 1
end
local oldest = tonumber(call('ZRANGE', window, 0, 0, 'WITHSCORES')[2])
return { taken, count, oldest + within - now }
