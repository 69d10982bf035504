-- Adds the marks to a ledger that an earlier version opened; parts.lua says what they are for.
--
-- KEYS  ledger, orders, requests, users, restocks, outbox
-- Answers 1, or 0 if a part is missing that can't be empty.

local call = redis.call
local units = call('HMGET', KEYS[1], 'held', 'sold')
if not units[1] or not units[2] then return 0 end
local lacks_holds = call('EXISTS', KEYS[2], KEYS[4]) < 2
if lacks_holds and tonumber(units[1]) + tonumber(units[2]) > 0 then return 0 end
if call('EXISTS', KEYS[6]) == 0 then return 0 end
mark_parts(KEYS[2], KEYS[3], KEYS[4], KEYS[5])
call('HSET', KEYS[1], MARK, 1)
return 1
