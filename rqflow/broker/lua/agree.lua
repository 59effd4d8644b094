-- Replace the protocol number unless somebody else has meanwhile.
--
-- KEYS[1]  the number
-- ARGV[1]  what it was, '' for none
-- ARGV[2]  what it is to be
-- Result   1 when it is that now, else 0
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1
