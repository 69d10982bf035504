-- Merges a claim into the cart if it is still the claim of this order.
-- KEYS quantities, prices, claim; ARGV the order's id, units at most, seconds kept.
if redis.call('HGET', KEYS[3], 'order') ~= ARGV[1] then return end
local claim = redis.call('HGETALL', KEYS[3])
for at = 1, #claim, 2 do
    local sku = claim[at]
    if sku ~= 'order' and sku ~= 'epoch' then
        local units, price = string.match(claim[at + 1], '^(%d+) (%-?%d+)$')
        local there = tonumber(redis.call('HGET', KEYS[1], sku) or 0)
        redis.call('HSET', KEYS[1], sku, math.min(tonumber(units) + there, tonumber(ARGV[2])))
        -- A line that was added after the claim keeps its newer price.
        redis.call('HSETNX', KEYS[2], sku, price)
    end
end
redis.call('EXPIRE', KEYS[1], ARGV[3])
redis.call('EXPIRE', KEYS[2], ARGV[3])
redis.call('DEL', KEYS[3])
