-- Asks one activity's ledger for units, a batch at a time, and appends all that is held to the outbox.
-- The rules are those of `Ledger::apply` in `contract::ledger`, in the same order.
--
-- KEYS  ledger, orders, requests, users, outbox, window
-- ARGV  run id (empty: asked for), now in epoch ms (empty: this server's clock), attempts a user may make and within how many ms
--       (0: any), then for each reservation: order, user, request (empty: none), quantity
-- Answers "epoch seq total available held sold outcome..." or one of the errors UNOPENED, FROZEN, BROKEN.
--
-- Ids are beyond 2^53 and stay strings. Calls are what costs, so everything is read in a few of them, decided
-- in tables, and written in a few.

local ledger, orders, requests, users, outbox, window = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local call, floor = redis.call, '%.0f'

local l = call('HMGET', ledger, 'run', 'starts', 'ends', 'limit', 'total', 'available', 'held', 'sold', 'epoch', 'seq')
if not l[1] then return redis.error_reply('UNOPENED the ledger is not here') end
if l[1] ~= run_id(ARGV[1]) then return redis.error_reply('FROZEN the ledger was last verified on another run') end
local starts, ends, limit = tonumber(l[2]), tonumber(l[3]), tonumber(l[4])
local total, available, held, sold = tonumber(l[5]), tonumber(l[6]), tonumber(l[7]), tonumber(l[8])
local epoch, seq = l[9], tonumber(l[10])

local now = tonumber(ARGV[2])
if not now then
    local time = call('TIME')
    now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
local attempts_max, within = tonumber(ARGV[3]), tonumber(ARGV[4])

local order_ids, user_ids, request_ids = {}, {}, {}
for i = 5, #ARGV, 4 do
    order_ids[#order_ids + 1] = ARGV[i]
    user_ids[#user_ids + 1] = ARGV[i + 1]
    if ARGV[i + 2] ~= '' then request_ids[#request_ids + 1] = ARGV[i + 2] end
end
local size = #order_ids

-- What is known of them: quantities and latest orders of users, orders, first answers to requests.
local owned, latest, known, first = {}, {}, {}, {}
local found = call('HMGET', users, unpack(user_ids))
for i = 1, size do
    if found[i] then
        local quantity, order = string.match(found[i], '^(%d+):(%d+)$')
        owned[user_ids[i]], latest[user_ids[i]] = tonumber(quantity), order
    end
end
found = call('HMGET', orders, unpack(order_ids))
for i = 1, size do
    if found[i] then known[order_ids[i]] = true end
end
if #request_ids > 0 then
    found = call('HMGET', requests, unpack(request_ids))
    for i = 1, #request_ids do
        if found[i] then first[request_ids[i]] = found[i] end
    end
end

-- A user's attempts are members user:slot, scored by their instant; the free slots are those that have passed.
local slots, attempts = {}, {}
if attempts_max > 0 then
    call('ZREMRANGEBYSCORE', window, '-inf', now - within)
    local members, asked = {}, {}
    for i = 1, size do
        local user = user_ids[i]
        if not slots[user] then
            slots[user] = {}
            asked[#asked + 1] = user
            for slot = 1, attempts_max do members[#members + 1] = user .. ':' .. slot end
        end
    end
    found = call('ZMSCORE', window, unpack(members))
    for i = 1, #members do
        local free = slots[asked[math.floor((i - 1) / attempts_max) + 1]]
        if not found[i] then free[#free + 1] = members[i] end
    end
end

local outcomes, events = {}, {}
local order_fields, request_fields, user_fields, user_at = {}, {}, {}, {}
for i = 1, size do
    local at = 4 * i + 1
    local order, user, request, quantity = ARGV[at], ARGV[at + 1], ARGV[at + 2], tonumber(ARGV[at + 3])
    local share, answered = owned[user], request ~= '' and first[request]
    local outcome
    if answered then
        local its_order, its_user, its_quantity = string.match(answered, '^(%d+):(%d+):(%d+)$')
        if its_user == user and tonumber(its_quantity) == quantity then
            outcome = 'r' .. its_order
        else
            outcome = 'k'
        end
    elseif share and limit == 1 and quantity == 1 then
        outcome = 'r' .. latest[user]
    elseif now < starts then
        outcome = 'n'
    elseif now >= ends then
        outcome = 'e'
    elseif attempts_max > 0 and #slots[user] == 0 then
        outcome = 'w'
    else
        if attempts_max > 0 then
            attempts[#attempts + 1] = now
            attempts[#attempts + 1] = table.remove(slots[user])
        end
        if quantity == 0 or (share or 0) + quantity > limit then
            outcome = 'l'
        elseif known[order] then
            outcome = 'c'
        elseif quantity > available then
            outcome = 's'
        else
            outcome = 'h'
            available, held, seq = available - quantity, held + quantity, seq + 1
            owned[user], latest[user], known[order] = (share or 0) + quantity, order, true
            local units = string.format(floor, quantity)
            order_fields[#order_fields + 1] = order
            order_fields[#order_fields + 1] = user .. ':' .. units .. ':h'
            if request ~= '' then
                first[request] = order .. ':' .. user .. ':' .. units
                request_fields[#request_fields + 1] = request
                request_fields[#request_fields + 1] = first[request]
            end
            local field = user_at[user]
            if not field then
                field = #user_fields + 1
                user_at[user], user_fields[field] = field, user
            end
            user_fields[field + 1] = string.format(floor, owned[user]) .. ':' .. order
            events[#events + 1] = 'h ' .. order .. ' ' .. user .. ' ' .. units .. ' ' .. request
        end
    end
    outcomes[i] = outcome
end

if available < 0 or available + held + sold ~= total then
    return redis.error_reply('BROKEN the ledger would lose count')
end
if #attempts > 0 then call('ZADD', window, unpack(attempts)) end
if #events > 0 then
    call('HSET', orders, unpack(order_fields))
    call('HSET', users, unpack(user_fields))
    if #request_fields > 0 then call('HSET', requests, unpack(request_fields)) end
    call('HSET', ledger, 'available', available, 'held', held, 'seq', seq)
    call('XADD', outbox, '*', 's', seq - #events + 1, 'e', epoch, 't', now, 'x', table.concat(events, '\n'))
end
return epoch .. ' ' .. string.format('%.0f %.0f %.0f %.0f %.0f ', seq, total, available, held, sold)
    .. table.concat(outcomes, ' ')
