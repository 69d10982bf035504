-- Rebuilds one activity's ledger, which is closed for a term, from what outlived it: begin, put as often as needed, end,
-- and open once the journal has the term's opening. Until then every script answers FROZEN.
--
-- KEYS  ledger, orders, requests, users, restocks, outbox, window
-- ARGV  step, term, then
--       put    index of the key, then its fields and values (members, for restocks)
--       end    starts, ends, limit, total, available, held, sold, epoch, seq
-- Answers 1, or TERM where the ledger is not closed for this term: another recovery has taken over, or this server has
-- lost what was done before.

local call, ledger = redis.call, KEYS[1]
local step, term = ARGV[1], ARGV[2]

local l = call('HMGET', ledger, 'term', 'run', 'rebuilt_on')
local expected = CLOSED
if step == 'open' then expected = REBUILT end
if l[1] ~= term or l[2] ~= expected then
    return redis.error_reply('TERM the ledger is in term ' .. tostring(l[1]) .. ', ' .. tostring(l[2]))
end

-- A server that has taken over since may have kept the closing and lost the steps after it.
if step ~= 'begin' and l[3] ~= run_id('') then
    return redis.error_reply('TERM the rebuild was begun on another run')
end

if step == 'begin' then
    call('HSET', ledger, 'rebuilt_on', run_id(''))
    -- The outbox stays until the ledger opens: its entries are on the log only then.
    call('UNLINK', KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[7])
    mark_parts(KEYS[2], KEYS[3], KEYS[4], KEYS[5])
elseif step == 'put' then
    local key = KEYS[tonumber(ARGV[3])]
    call(key == KEYS[5] and 'SADD' or 'HSET', key, unpack(ARGV, 4))
elseif step == 'end' then
    local total, available, held, sold = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
    if available + held + sold ~= total then return redis.error_reply('BROKEN the ledger would lose count') end
    call('HSET', ledger, 'run', REBUILT, 'starts', ARGV[3], 'ends', ARGV[4], 'limit', ARGV[5], 'total', ARGV[6],
        'available', ARGV[7], 'held', ARGV[8], 'sold', ARGV[9], 'epoch', ARGV[10], 'seq', ARGV[11], MARK, 1)
elseif not has_parts(KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[2]) then
    return redis.error_reply('TERM a part of the ledger is lost')
else
    -- Trimmed and not deleted: its ids go on growing, whatever the clock does. Where it was lost, it exists again.
    if call('EXISTS', KEYS[6]) == 0 then call('XADD', KEYS[6], '*', 'created', 1) end
    call('XTRIM', KEYS[6], 'MAXLEN', 0)
    call('HSET', ledger, 'run', run_id(''))
end
return 1
