-- Bring tasks whose delay is over back to their queues.
--
-- ARGV 1  request id   ARGV 2  JSON: caller, limit
-- Returns JSON {moved: n, ticks: [ids of DAGs whose alarm rings], next: seconds until the next entry is due (absent when there is none)}.
-- Entries of the set that are not rqflow's own are left alone. A Redis that is not to be believed moves nothing: what it calls due may have
-- run since.
local request = cjson.decode(ARGV[2])
local before = repeated(request.caller, ARGV[1])
if before then return before end

if closed_to(nil) then return cjson.encode({moved = 0, ticks = {}, next = 0.1}) end
local moved, ticks = 0, {}
local now = string.format('%.6f', call.now / 1000000)
for _, job in ipairs(redis.call('ZRANGEBYSCORE', K.RQ_SCHEDULED_JOBS, '-inf', now, 'LIMIT', 0, request.limit)) do
  local ref = redis.call('HGET', K.DUE, job)
  local dag = ref and string.match(ref, '^tick:(.*)$')
  local task = ref and not dag and get_ref(ref)
  if dag then
    ticks[#ticks + 1] = dag
    moved = moved + 1
    put(ZSET, K.RQ_SCHEDULED_JOBS, job, false)
    put(HASH, K.DUE, job, false)
  elseif task and (task.s == 'up_for_retry' or task.s == 'up_for_reschedule') then
    queue_again(task, task.s == 'up_for_retry')
    moved = moved + 1
  elseif ref then
    redis.call('ZREM', K.RQ_SCHEDULED_JOBS, job)
    redis.call('HDEL', K.DUE, job)
  end
end
local reply = {moved = moved, ticks = ticks}
write_key(K.RQ_SCHEDULED_JOBS)
local head = redis.call('ZRANGEBYSCORE', K.RQ_SCHEDULED_JOBS, moved == request.limit and '-inf' or '(' .. now, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
if head[2] then reply.next = math.max(0, tonumber(head[2]) - call.now / 1000000) end
return finish_call(request.caller, ARGV[1], reply)
