-- Opens one activity's ledger unless it is open.
--
-- KEYS  ledger, orders, requests, users, restocks, outbox
-- ARGV  run id (empty: asked for), now in epoch ms (empty: this server's clock), stock, limit a user, starts, ends (epoch ms)
-- Answers "epoch seq total available held sold", or FROZEN.

local ledger, outbox = KEYS[1], KEYS[6]
local call = redis.call

local l = call('HMGET', ledger, 'run', 'epoch', 'seq', 'total', 'available', 'held', 'sold')
if l[1] then
    if l[1] ~= run_id(ARGV[1]) then return redis.error_reply('FROZEN the ledger was last verified on another run') end
    return table.concat(l, ' ', 2)
end
-- What remains of a ledger that was open: its units may be sold.
if call('EXISTS', KEYS[2], KEYS[3], KEYS[4], KEYS[5], outbox) > 0 then
    return redis.error_reply('FROZEN the ledger was open and is lost')
end

local now = tonumber(ARGV[2])
if not now then
    local time = call('TIME')
    now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
local stock, limit, starts, ends = ARGV[3], ARGV[4], ARGV[5], ARGV[6]
mark_parts(KEYS[2], KEYS[3], KEYS[4], KEYS[5])
call('HSET', ledger, 'run', run_id(ARGV[1]), 'starts', starts, 'ends', ends, 'limit', limit,
    'total', stock, 'available', stock, 'held', 0, 'sold', 0, 'epoch', 1, 'seq', 1, MARK, 1)
call('XADD', outbox, '*', 's', 1, 'e', 1, 't', now, 'x', table.concat({ 'o', stock, limit, starts, ends }, ' '))
return '1 1 ' .. stock .. ' ' .. stock .. ' 0 0'
