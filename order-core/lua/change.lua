-- Adds to a line of a cart, or replaces its quantity.
-- KEYS quantities, prices, claim; ARGV sku, quantity, price, "add" or "set", lines at most, units at most, seconds kept.
local claimed = redis.call('EXISTS', KEYS[3]) == 1
-- Claimed lines may come back or be ordered. The caller has to settle that before a change is refused.
local function refused(why)
    return claimed and 'claimed' or why
end
local sku, units = ARGV[1], tonumber(ARGV[2])
local there = tonumber(redis.call('HGET', KEYS[1], sku))
if ARGV[4] == 'set' then
    if claimed then return 'claimed' end
    if not there then return 'no_line' end
else
    units = units + (there or 0)
end
-- Limits include the claimed lines, so that there is room if they come back.
local back, lines = 0, redis.call('HLEN', KEYS[1]) + (there and 0 or 1)
if claimed then
    for _, field in ipairs(redis.call('HKEYS', KEYS[3])) do
        if field == sku then
            back = tonumber(string.match(redis.call('HGET', KEYS[3], field), '^%d+'))
        elseif field ~= 'order' and field ~= 'epoch' and redis.call('HEXISTS', KEYS[1], field) == 0 then
            lines = lines + 1
        end
    end
end
if not there and lines > tonumber(ARGV[5]) then return refused('too_many_lines') end
if units + back > tonumber(ARGV[6]) then return refused('too_many_units') end
redis.call('HSET', KEYS[1], sku, units)
redis.call('HSET', KEYS[2], sku, ARGV[3])
redis.call('EXPIRE', KEYS[1], ARGV[7])
redis.call('EXPIRE', KEYS[2], ARGV[7])
return 'done'
