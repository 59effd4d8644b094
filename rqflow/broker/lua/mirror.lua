-- Put a new copy of the Variables and Connections in the place of the old one, unless somebody else did so meanwhile.
--
-- KEYS[1]  the copy: a hash with an entry for each, and `generation`
-- ARGV[1]  the generation that the caller has seen; empty: there was none
-- ARGV[2]  the new generation
-- ARGV[3…] field, value, field, value … of the new copy
-- Result   1: the new copy stands; 0: another one does
--
-- Repeating the call changes nothing.
local now = redis.call('HGET', KEYS[1], 'generation') or ''
if now == ARGV[2] then
    return 1
end
if now ~= ARGV[1] then
    return 0
end
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[1], 'generation', ARGV[2])
for at = 3, #ARGV, 2 do
    redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1])
end
return 1
