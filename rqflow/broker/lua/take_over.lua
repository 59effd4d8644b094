-- A worker follows another one on the same work_dir: what the shepherd still has of it is the new one's; the rest never started.
--
-- ARGV 1  request id   ARGV 2  JSON: caller, former (name), executions {id: true} of what the shepherd has, lease (µs), is_lost (the rest may
--         have been started, because the machine was restarted since)
-- Returns {closed: true}, with nothing done, when Redis is not to be believed; else
-- JSON {taken: n, given_back: n, unfinished: […]}. What of the former's requests is still under way claims nothing any more.
local request = cjson.decode(ARGV[2])
local before = repeated(request.caller, ARGV[1])
if before then return before end
if closed_to(nil) then return cjson.encode({closed = true}) end

redis.call('SET', K.RETIRED .. request.former, request.caller, 'EX', 86400)
local taken, given_back = 0, 0
local held = redis.call('HGETALL', K.HOLDS .. request.former)
for at = 1, #held, 2 do
  local execution = held[at]
  local task = get_ref(string.match(held[at + 1], '^(.*):%d+$'))
  if task and task.s == 'running' and task.e == execution then
    if request.executions[execution] then
      local member = task.j .. ':' .. execution
      redis.call('SREM', K.RQ_WORKER .. request.former .. ':executions', member)
      redis.call('SADD', K.RQ_WORKER .. request.caller .. ':executions', member)
      redis.call('HSET', K.RQ_EXECUTION .. member, 'worker_name', request.caller)
      redis.call('HSET', K.RQ_JOB .. task.j, 'worker_name', request.caller)
      put(HASH, K.HOLDS .. request.caller, execution, task.ref .. ':0')
      task.w = request.caller
      renew(task, request.lease)
      touch(task)
      taken = taken + 1
    else
      if request.is_lost then
        declare_lost(task, 'lost: its machine was restarted', 0)
      else
        give_back(task)
      end
      given_back = given_back + 1
    end
  end
end
local record = K.RQ_WORKER .. request.former
for queue in string.gmatch(redis.call('HGET', record, 'queues') or '', '[^,]+') do redis.call('SREM', K.RQ_WORKERS .. ':' .. queue, record) end
redis.call('SREM', K.RQ_WORKERS, record)
redis.call('DEL', K.HOLDS .. request.former, record, record .. ':executions', K.REPLY .. request.former .. ':turn', K.REPLY .. request.former .. ':beat')
do_work()
return finish_call(request.caller, ARGV[1], {taken = taken, given_back = given_back, unfinished = unfinished_runs()})
