-- Return what Redis remembers of logs.
--
-- KEYS[1]  what the keys of executions begin with
-- ARGV[1]  the field: o how far a log is archived, b where it begins in its file
-- ARGV[2…] ids of executions
-- Result   the field of each, or nothing
local found = {}
for at = 2, #ARGV do found[at - 1] = redis.call('HGET', KEYS[1] .. ARGV[at], ARGV[1]) end
return found
