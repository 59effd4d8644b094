-- Announce a run that is about to be written, job by job; nothing of it is on any list yet.
--
-- ARGV 1  run key  2  RunInfo JSON  3  dag id  4  run id  5  version  6  tasks  7  tasks that are not removed  8  priority
--      9..  the version as pairs of field and value, sent only when Redis lacks it
-- Returns 'exists' (it was committed before), 'version' (send the version too), or 'prepare'.
if redis.call('HGET', K.RUN .. ARGV[1], 'state') then return 'exists' end
local version = K.VERSION .. ARGV[5]
if redis.call('EXISTS', version) == 0 then
  if not ARGV[9] then return 'version' end
  for at = 9, #ARGV, 2000 do
    redis.call('HSET', version, unpack(ARGV, at, math.min(at + 1999, #ARGV)))
  end
end
redis.call('SADD', version .. ':runs', ARGV[1])
redis.call('HSET', K.RUN .. ARGV[1], 'info', ARGV[2], 'dag', ARGV[3], 'run_id', ARGV[4], 'version', ARGV[5], 'total', ARGV[6], 'left', ARGV[7],
  'priority', ARGV[8], 'leaf_failed', 0, 'leaf_cancelled', 0, 'preparing', digits(call.now), 'created', digits(call.now))
redis.call('ZADD', K.PREPARING, 'NX', math.floor(call.now / 1000000), ARGV[1])
return 'prepare'
