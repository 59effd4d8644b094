-- Return how far logs are archived, as far as Redis remembers it.
--
-- KEYS[1]  what the keys of executions begin with
-- ARGV     ids of executions
-- Result   for each the offset, and '1' when the last piece is archived too; or two times nothing
local found = {}
for at = 1, #ARGV do
  local known = redis.call('HMGET', KEYS[1] .. ARGV[at], 'o', 'w')
  found[2 * at - 1], found[2 * at] = known[1], known[2]
end
return found
