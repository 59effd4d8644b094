-- Let a run have another version beside its own, which tasks of it will follow.
--
-- ARGV 1  run key  2  version  3  name of the copy of the version that the caller wrote  4  fields that it must have; both only where Redis lacked
--      the version
-- Returns 'version' (Redis lacks it: write a copy of it first), 'kept', or 'gone' (Redis has no such run). Doing it twice is the same as once.
local key = K.RUN .. ARGV[1]
if redis.call('EXISTS', key) == 0 then return 'gone' end
if not keep_version(ARGV[2], ARGV[1], ARGV[3], ARGV[4]) then return 'version' end
redis.call('SADD', key .. ':vs', ARGV[2])
return 'kept'
