-- Moves a cart into a claim unless there is a claim already. Returns whether the cart has lines beside the claim, and
-- the claim, which is empty where there was neither a cart nor a claim.
-- KEYS quantities, prices, claim; ARGV the order's id, the epoch, seconds kept.
if redis.call('EXISTS', KEYS[3]) == 0 then
    local lines = redis.call('HGETALL', KEYS[1])
    if #lines == 0 then return {0, {}} end
    local claim = {'order', ARGV[1], 'epoch', ARGV[2]}
    for at = 1, #lines, 2 do
        claim[#claim + 1] = lines[at]
        claim[#claim + 1] = lines[at + 1] .. ' ' .. (redis.call('HGET', KEYS[2], lines[at]) or '0')
    end
    redis.call('HSET', KEYS[3], unpack(claim))
    redis.call('EXPIRE', KEYS[3], ARGV[3])
    redis.call('DEL', KEYS[1], KEYS[2])
end
return {redis.call('EXISTS', KEYS[1]), redis.call('HGETALL', KEYS[3])}
