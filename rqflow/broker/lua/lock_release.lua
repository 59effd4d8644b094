-- Give a lock back, if this owner still has it.
--
-- KEYS[1]  the lock
-- ARGV[1]  name of its owner
-- Result   1: it had it, and the lock is free now; 0: somebody else has it, or nobody
if redis.call('GET', KEYS[1]) == ARGV[1] then
    return redis.call('DEL', KEYS[1])
end
return 0
