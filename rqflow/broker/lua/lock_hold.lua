-- Take a lock, or hold on to it.
--
-- KEYS[1]  the lock: a string with its owner's name, which expires by itself
-- ARGV[1]  name of the caller
-- ARGV[2]  milliseconds until the lock is free again unless held on to
-- Result   1: the caller has the lock; 0: somebody else has it
--
-- Repeating the call changes nothing but the expiry.
local owner = redis.call('GET', KEYS[1])
if owner and owner ~= ARGV[1] then
    return 0
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
