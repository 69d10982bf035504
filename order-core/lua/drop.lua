-- Deletes a claim if it is still the claim of this order.
-- KEYS claim; ARGV the order's id.
if redis.call('HGET', KEYS[1], 'order') == ARGV[1] then redis.call('DEL', KEYS[1]) end
