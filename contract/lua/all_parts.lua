-- Whether all are there.
local function has_parts(orders, requests, users, restocks, outbox)
    local call = redis.call
    return call('HEXISTS', orders, MARK) + call('HEXISTS', requests, MARK) + call('HEXISTS', users, MARK)
        + call('SISMEMBER', restocks, MARK) + call('EXISTS', outbox) == 5
end

-- Creates those that are missing; the outbox is created by its first element.
local function mark_parts(orders, requests, users, restocks)
    local call = redis.call
    call('HSET', orders, MARK, 1)
    call('HSET', requests, MARK, 1)
    call('HSET', users, MARK, 1)
    call('SADD', restocks, MARK)
end

