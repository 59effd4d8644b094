-- A version that Redis has for a run gets the signatures of it that there are by now.
--
-- ARGV 1  version  2  JSON list of its signatures
-- Returns 1, or 0 when Redis does not have the version. Doing it twice is the same as once.
if redis.call('EXISTS', K.VERSION .. ARGV[1]) == 0 then return 0 end
redis.call('HSET', K.VERSION .. ARGV[1], 'signatures', ARGV[2])
return 1
