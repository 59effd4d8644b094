-- Write a part of a run that is being prepared: task instances and RQ jobs, on no list.
--
-- ARGV 1  run key   then for each task: index, task instance (JSON), job id ('' for none), number of strings of its job, these
--         strings (field, value, …)
-- Returns 1, or 0 when the run is not being prepared: a creator that was held up must not write over a run that lives.
local key = K.RUN .. ARGV[1]
if not redis.call('HGET', key, 'preparing') then return 0 end
local at = 2
while at <= #ARGV do
  redis.call('HSET', key .. ':t', ARGV[at], ARGV[at + 1])
  local count = tonumber(ARGV[at + 3])
  if ARGV[at + 2] ~= '' then redis.call('HSET', K.RQ_JOB .. ARGV[at + 2], unpack(ARGV, at + 4, at + 3 + count)) end
  at = at + 4 + count
end
return 1
