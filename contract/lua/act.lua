-- Carries out what the mall asks of one activity's ledger: settle, release, restock, end.
-- The rules are those of `Ledger::apply` in `contract::stock`.
--
-- KEYS  ledger, orders, users, restocks, outbox, requests
-- ARGV  run id (empty: asked for), now in epoch ms (empty: this server's clock), then for each command: kind, id, delta
--       kind s: settle order id, r: release order id, p: restock operation id by delta, e: end the sale at id (epoch ms)
-- Answers "outcome..." (d done, u unknown order, c conflict, x refused), or an error as reserve.lua does.

local ledger, orders, users, restocks, outbox, requests = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local call = redis.call
-- Counts are exact below it.
local COUNT_MAX = 9007199254740991

local l = call('HMGET', ledger, 'run', 'total', 'available', 'held', 'sold', 'epoch', 'seq', 'starts', 'ends', 'term')
if not l[1] then return redis.error_reply('UNOPENED the ledger is not here') end
if l[1] ~= run_id(ARGV[1]) then return redis.error_reply('FROZEN the ledger is closed, or of another run') end
if not has_parts(orders, requests, users, restocks, outbox) then
    return redis.error_reply('FROZEN a part of the ledger is lost')
end
local total, available, held, sold = tonumber(l[2]), tonumber(l[3]), tonumber(l[4]), tonumber(l[5])
local epoch, seq = tonumber(l[6]), tonumber(l[7])
local first_epoch, first_seq = l[6], seq + 1
local starts, ends = tonumber(l[8]), tonumber(l[9])

local now = tonumber(ARGV[2])
if not now then
    local time = call('TIME')
    now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end

local outcomes, events = {}, {}

local function happened(event)
    events[#events + 1] = event
    seq = seq + 1
    if available < 0 or held < 0 or available + held + sold ~= total then
        -- An error after a write leaves that write; this one undoes nothing, so that somebody looks.
        error({ err = 'BROKEN the ledger would lose count' })
    end
end

local function settle(order)
    local hold = call('HGET', orders, order)
    if not hold then return 'u' end
    local user, quantity, state = read_hold(hold)
    local units = string.format('%.0f', quantity)
    if state == 's' then return 'd' end
    if state == 'r' then return 'c' end
    held, sold = held - quantity, sold + quantity
    happened('s ' .. order .. ' ' .. units)
    call('HSET', orders, order, user .. ':' .. units .. ':s')
    return 'd'
end

local function release(order)
    local hold = call('HGET', orders, order)
    if not hold then return 'u' end
    local user, quantity, state = read_hold(hold)
    local units = string.format('%.0f', quantity)
    if state == 'r' then return 'd' end
    if state == 's' then return 'c' end
    held, available, epoch = held - quantity, available + quantity, epoch + 1
    happened('r ' .. order .. ' ' .. units)
    call('HSET', orders, order, user .. ':' .. units .. ':r')
    local owned, latest = read_share(call('HGET', users, user))
    if owned > quantity then
        call('HSET', users, user, share(owned - quantity, latest))
    else
        call('HDEL', users, user)
    end
    return 'd'
end

local function restock(operation, text)
    if call('SISMEMBER', restocks, operation) == 1 then return 'd' end
    local delta = tonumber(text)
    if delta == 0 or available + delta < 0 or total + delta > COUNT_MAX then return 'x' end
    available, total = available + delta, total + delta
    if delta > 0 then epoch = epoch + 1 end
    happened('p ' .. operation .. ' ' .. text)
    call('SADD', restocks, operation)
    return 'd'
end

-- An instant to come counts as now: the caller's clock may be ahead of this one.
local function finish(text)
    if ends <= now then return 'd' end
    ends = math.min(tonumber(text), now)
    starts = math.min(starts, math.max(ends - 1, 0))
    happened(string.format('e %.0f', ends))
    call('HSET', ledger, 'starts', string.format('%.0f', starts), 'ends', string.format('%.0f', ends))
    return 'd'
end

for i = 3, #ARGV, 3 do
    local kind, id = ARGV[i], ARGV[i + 1]
    if kind == 's' then
        outcomes[#outcomes + 1] = settle(id)
    elseif kind == 'r' then
        outcomes[#outcomes + 1] = release(id)
    elseif kind == 'e' then
        outcomes[#outcomes + 1] = finish(id)
    else
        outcomes[#outcomes + 1] = restock(id, ARGV[i + 2])
    end
end

if #events > 0 then
    call('HSET', ledger, 'total', total, 'available', available, 'held', held, 'sold', sold, 'epoch', epoch, 'seq', seq)
    call('XADD', outbox, '*', 'm', l[10], 's', first_seq, 'e', first_epoch, 't', now, 'x', table.concat(events, '\n'))
end
return table.concat(outcomes, ' ')
