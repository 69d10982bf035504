-- Rebuilds one activity's ledger from what outlived it: begin, put as often as needed, end. Between begin
-- and end the ledger's run is this rebuild's token, so nobody is answered and a second rebuild takes over whole.
--
-- KEYS  ledger, orders, requests, users, restocks, outbox, window
-- ARGV  step, token, then
--       begin  answers 0 where the ledger has been verified on this server's run already, else 1
--       put    index of the key, then its fields and values (members, for restocks)
--       end    starts, ends, limit, total, available, held, sold, epoch, seq

local call, ledger = redis.call, KEYS[1]
local step, token = ARGV[1], ARGV[2]

if step == 'begin' then
    if call('HGET', ledger, 'run') == run_id('') then return 0 end
    -- The outbox stays until the end: its entries are on the log only once the rebuild has begun well.
    call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[7])
    call('HSET', ledger, 'run', token)
    mark_parts(KEYS[2], KEYS[3], KEYS[4], KEYS[5])
    return 1
end

if call('HGET', ledger, 'run') ~= token then
    return redis.error_reply('FROZEN another rebuild has taken over')
end
if step == 'put' then
    local key = KEYS[tonumber(ARGV[3])]
    call(key == KEYS[5] and 'SADD' or 'HSET', key, unpack(ARGV, 4))
    return 1
end
local total, available, held, sold = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9])
if available + held + sold ~= total then return redis.error_reply('BROKEN the ledger would lose count') end
-- Trimmed and not deleted: its ids go on growing, whatever the clock does. Where it was lost, it exists again.
if call('EXISTS', KEYS[6]) == 0 then call('XADD', KEYS[6], '*', 'created', 1) end
call('XTRIM', KEYS[6], 'MAXLEN', 0)
call('HSET', ledger, 'run', run_id(''), 'starts', ARGV[3], 'ends', ARGV[4], 'limit', ARGV[5], 'total', ARGV[6],
    'available', ARGV[7], 'held', ARGV[8], 'sold', ARGV[9], 'epoch', ARGV[10], 'seq', ARGV[11], MARK, 1)
return 1
