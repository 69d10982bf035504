-- Asks one activity's ledger for units, a batch at a time, and appends all that is held to the outbox.
-- The rules are those of `Ledger::apply` in `contract::stock`, in the same order.
--
-- KEYS  ledger, orders, requests, users, outbox, window
-- ARGV  run id (empty: asked for), term (empty: any), now in epoch ms (empty: this server's clock; over: after the end,
--       whatever the ledger's end is; promised: while the sale runs, whenever that is), attempts a user may make and
--       within how many ms (0: any), then for each reservation: order, user, request (empty: none), quantity; last,
--       if the batch belongs to a trace, the traceparent of its span, which the outbox keeps
-- Answers "term epoch seq total available held sold outcome..." or one of the errors UNOPENED, FROZEN, TERM, BROKEN.
--
-- Ids are beyond 2^53 and stay strings. Calls are what costs, so everything is read in a few of them, decided
-- in tables, and written in a few. The marks of the parts (see parts.lua) are read along with the fields that are
-- read anyway, and NOMKSTREAM refuses an outbox that is lost.

local ledger, orders, requests, users, outbox, window = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local call, argv = redis.call, ARGV

local l = call('HMGET', ledger, 'run', 'starts', 'ends', 'limit', 'total', 'available', 'held', 'sold', 'epoch', 'seq', 'term')
if not l[1] then return redis.error_reply('UNOPENED the ledger is not here') end
if l[1] ~= run_id(argv[1]) then return redis.error_reply('FROZEN the ledger is closed, or of another run') end
local term = l[11]
if argv[2] ~= '' and argv[2] ~= term then return redis.error_reply('TERM the ledger is in term ' .. term) end
local starts, ends, limit = tonumber(l[2]), tonumber(l[3]), tonumber(l[4])
local total, available, held, sold = tonumber(l[5]), tonumber(l[6]), tonumber(l[7]), tonumber(l[8])
local epoch, seq = l[9], tonumber(l[10])
local LOST = 'FROZEN a part of the ledger is lost'

local now = tonumber(argv[3])
if not now and argv[3] ~= 'over' then
    local time = call('TIME')
    now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
end
local decided_at = now
local attempts_max, within = tonumber(argv[4]), tonumber(argv[5])
if argv[3] == 'over' then now, attempts_max = math.huge, 0 end
if argv[3] == 'promised' then now, attempts_max = starts, 0 end

local size, keyed = math.floor((#argv - 5) / 4), 0
local last = 4 * size + 5
local trace = argv[last + 1]
local order_ids, user_ids, request_ids = {}, {}, {}
for i = 1, size do
    local at = 4 * i + 1
    order_ids[i], user_ids[i] = argv[at + 1], argv[at + 2]
    if argv[at + 3] ~= '' then
        keyed = keyed + 1
        request_ids[keyed] = argv[at + 3]
    end
end

-- What is known of them: units and latest orders of users, orders, the orders that requests were answered with.
-- The mark comes first.
local owned, latest, known, first = {}, {}, {}, {}
local found = call('HMGET', users, MARK, unpack(user_ids))
if not found[1] then return redis.error_reply(LOST) end
for i = 1, size do
    if found[i + 1] then owned[user_ids[i]], latest[user_ids[i]] = read_share(found[i + 1]) end
end
found = call('HMGET', orders, MARK, unpack(order_ids))
if not found[1] then return redis.error_reply(LOST) end
for i = 1, size do
    if found[i + 1] then known[order_ids[i]] = true end
end
if keyed > 0 then
    found = call('HMGET', requests, MARK, unpack(request_ids))
    if not found[1] then return redis.error_reply(LOST) end
    for i = 1, keyed do
        -- An earlier version kept more of it, behind a colon.
        if found[i + 1] then first[request_ids[i]] = string.match(found[i + 1], '^%d+') end
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

-- Who asked for an order, and for how many units: what this batch has held is not written yet.
local function asked_for(order)
    local i = known[order]
    if tonumber(i) then return user_ids[i], tonumber(argv[4 * i + 5]) end
    return read_hold(call('HGET', orders, order))
end

local outcomes, holds, requested, sharers = {}, 0, 0, 0
local order_fields, request_fields, user_fields, user_at = {}, {}, {}, {}
for i = 1, size do
    local order, user, request, units = order_ids[i], user_ids[i], argv[4 * i + 4], argv[4 * i + 5]
    local quantity, share_before, answered = tonumber(units), owned[user], request ~= '' and first[request]
    local outcome
    if answered then
        local its_user, its_quantity = asked_for(answered)
        if its_user == user and its_quantity == quantity then
            outcome = 'r' .. answered
        else
            outcome = 'k'
        end
    elseif share_before and limit == 1 and quantity == 1 then
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
        local share_after = (share_before or 0) + quantity
        if quantity == 0 or share_after > limit then
            outcome = 'l'
        elseif known[order] then
            outcome = 'c'
        elseif quantity > available then
            outcome = 's'
        else
            outcome = 'h'
            available, held, holds = available - quantity, held + quantity, holds + 1
            owned[user], latest[user], known[order] = share_after, order, i
            order_fields[2 * holds - 1] = order
            order_fields[2 * holds] = quantity == 1 and user or user .. ':' .. units .. ':h'
            if request ~= '' then
                requested, first[request] = requested + 1, order
                request_fields[2 * requested - 1], request_fields[2 * requested] = request, order
            end
            local at = user_at[user]
            if not at then
                sharers = sharers + 1
                at = 2 * sharers
                user_at[user], user_fields[at - 1] = at, user
            end
            user_fields[at] = share(share_after, order)
        end
    end
    outcomes[i] = outcome
end

if available < 0 or available + held + sold ~= total then
    return redis.error_reply('BROKEN the ledger would lose count')
end
if #attempts > 0 then call('ZADD', window, unpack(attempts)) end
if holds > 0 then
    local first_seq, events, from, to = seq + 1, argv, 6, last
    seq = seq + holds
    if holds < size then
        events, from = {}, 1
        for i = 1, size do
            if outcomes[i] == 'h' then
                for at = 4 * i + 2, 4 * i + 5 do events[#events + 1] = argv[at] end
            end
        end
        to = #events
    end
    -- The first write: where there is no outbox, nothing has changed yet.
    local held_events, added = table.concat(events, ' ', from, to)
    if trace then
        added = call('XADD', outbox, 'NOMKSTREAM', '*', 'm', term, 's', first_seq, 'e', epoch, 't', decided_at, 'c', trace,
            'h', held_events)
    else
        added = call('XADD', outbox, 'NOMKSTREAM', '*', 'm', term, 's', first_seq, 'e', epoch, 't', decided_at, 'h',
            held_events)
    end
    if not added then
        return redis.error_reply(LOST)
    end
    call('HSET', orders, unpack(order_fields))
    call('HSET', users, unpack(user_fields))
    if requested > 0 then call('HSET', requests, unpack(request_fields)) end
    call('HSET', ledger, 'available', available, 'held', held, 'seq', seq)
end
return term .. ' ' .. epoch .. ' ' .. string.format('%.0f %.0f %.0f %.0f %.0f ', seq, total, available, held, sold)
    .. table.concat(outcomes, ' ')
