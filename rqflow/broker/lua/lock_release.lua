-- Give a lock back, if it is still ours.
--
-- KEYS[1]  the lock
-- ARGV[1]  token of the caller
-- Result   1: it was ours and is free now; 0: somebody else has it, or nobody
if redis.call('GET', KEYS[1]) == ARGV[1] then
    return redis.call('DEL', KEYS[1])
end
return 0
