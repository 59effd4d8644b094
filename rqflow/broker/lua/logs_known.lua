-- Return how far logs are archived, as far as Redis remembers it.
--
-- KEYS[1]  what the keys of executions begin with
-- ARGV     ids of executions
-- Result   the offset of each, or nothing
local found = {}
for at = 1, #ARGV do found[at] = redis.call('HGET', KEYS[1] .. ARGV[at], 'o') end
return found
