-- Removes lines from a cart, all of them where no SKU is given. Returns 1 and removes nothing while there is a claim.
-- KEYS quantities, prices, claim; ARGV skus.
if redis.call('EXISTS', KEYS[3]) == 1 then return 1 end
if #ARGV == 0 then
    redis.call('DEL', KEYS[1], KEYS[2])
else
    redis.call('HDEL', KEYS[1], unpack(ARGV))
    redis.call('HDEL', KEYS[2], unpack(ARGV))
end
return 0
