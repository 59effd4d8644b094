-- Remove a run that was deleted from Redis, whatever its state, some tasks at a time; slots that it holds go to those who wait for them, and
-- who waits for it as the run before waits no more.
--
-- ARGV 1  request id   ARGV 2  JSON: caller, run, from (index to begin with), count (tasks in this call), life (seconds for which an execution of it
--         that still runs somewhere is known as one to be stopped)
-- Returns JSON {next: index to go on with, -1 when nothing is left, unfinished: […]}. A run that is not marked as deleted is refused (-2).
local request = cjson.decode(ARGV[2])
local before = repeated(request.caller, ARGV[1])
if before then return before end

local key = K.RUN .. request.run
local seen = redis.call('HMGET', key, 'version', 'total', 'past')
if not seen[1] then return finish_call(request.caller, ARGV[1], {next = -1, unfinished = {}}) end
if redis.call('EXISTS', K.BURIED .. request.run) == 0 then return finish_call(request.caller, ARGV[1], {next = -2, unfinished = {}}) end
-- Absent: it was never started, and its jobs are on no list.
local run, total = get_run(request.run), tonumber(seen[2])
local upto = math.min(request.from + request.count, total)
if run and request.from == 0 then
  -- For those that waited for it there is no run before any more.
  for _, other in ipairs(followers(run)) do
    redis.call('HDEL', K.RUN .. other, 'past')
    redis.call('UNLINK', K.RUN .. other .. ':p')
  end
  look_after(run)
  redis.call('HDEL', K.FOLLOWS, request.run)
end
for index = request.from, upto - 1 do
  local text = redis.call('HGET', key .. ':t', index)
  if text then
    local job = cjson.decode(text).j
    local task = run and get_task(run, index)
    if task and task.s ~= 'removed' then
      if task.s == 'running' then redis.call('SET', K.DOOMED .. task.e, '1', 'EX', request.life) end
      take_out(task, get_row(run, index))
    end
    redis.call('DEL', K.RQ_JOB .. job, K.RQ_EXECUTIONS .. job, K.RQ_RESULTS .. job)
  end
end
if run and upto >= total then
  leave_active(run)
  redis.call('ZREM', K.WAITING .. run.dag, run.key)
end
do_work()
local reply = finish_call(request.caller, ARGV[1], {next = upto < total and upto or -1, unfinished = unfinished_runs()})
if upto >= total then drop_run(request.run, seen[1], seen[3]) end
return reply
