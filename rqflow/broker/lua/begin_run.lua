-- Announce a run that is about to be written, job by job; nothing of it is on any list yet.
--
-- ARGV 1  run key  2  RunInfo JSON  3  dag id  4  run id  5  version  6  tasks  7  tasks that are not removed  8  priority
--      9  past: key and id of the run before it, '' for none  10  pool of all its tasks, '' for their own  11  '1': its backfill says how many runs
--      run at a time, else ''  12  name of the copy of the version that the caller wrote  13  fields that it must have; both only where Redis lacked
--      the version
-- Returns 'buried' (it was deleted), 'exists' (it was committed before), 'version' (Redis lacks it: write a copy of it first), or 'prepare'.
if redis.call('EXISTS', K.BURIED .. ARGV[1]) == 1 then return 'buried' end
if redis.call('HGET', K.RUN .. ARGV[1], 'state') then return 'exists' end
if not keep_version(ARGV[5], ARGV[1], ARGV[12], ARGV[13]) then return 'version' end
redis.call('HSET', K.RUN .. ARGV[1], 'info', ARGV[2], 'dag', ARGV[3], 'run_id', ARGV[4], 'version', ARGV[5], 'total', ARGV[6], 'left', ARGV[7],
  'priority', ARGV[8], 'leaf_failed', 0, 'leaf_cancelled', 0, 'preparing', digits(call.now), 'created', digits(call.now))
if ARGV[9] ~= '' then redis.call('HSET', K.RUN .. ARGV[1], 'past', ARGV[9]) end
if ARGV[10] ~= '' then redis.call('HSET', K.RUN .. ARGV[1], 'pool', ARGV[10]) end
if ARGV[11] ~= '' then redis.call('HSET', K.RUN .. ARGV[1], 'apart', ARGV[11]) end
redis.call('ZADD', K.PREPARING, 'NX', math.floor(call.now / 1000000), ARGV[1])
return 'prepare'
