-- A stock `rq worker` has popped a job: may its horse run it?
--
-- ARGV 1  request id   ARGV 2  JSON: caller, run, index, execution (RQ's id), lease (µs), graces, number
-- Returns JSON {claim: [as in turn.lua], epoch: number} or {refused: reason}. When refused, RQ's view of the job is set right again, because the
-- stock worker has already written `started` over it.
local request = cjson.decode(ARGV[2])
local before = repeated(request.caller, ARGV[1])
if before then return before end

if closed_to(nil) then return finish_call(request.caller, ARGV[1], {refused = 'Redis was restarted, and its runs are being put together'}) end
local run = get_run(request.run)
local task = run and get_task(run, request.index)
if not task then return finish_call(request.caller, ARGV[1], {refused = 'Redis does not know this run'}) end
local row, settled = get_row(run, request.index), is_settled(run)
local why
if task.s ~= 'queued' then
  why = 'it is ' .. task.s
elseif #open_queues({row.q}) == 0 then
  why = 'its queue is paused, or closed until all workers have said what they run'
elseif not settled then
  why = 'a change of its run is still under way'
else
  why = refused(task, row)
end
local reply
if why then
  local member = task.j .. ':' .. request.execution
  if task.e ~= request.execution then
    redis.call('ZREM', K.RQ_WIP .. row.q, member)
    redis.call('DEL', K.RQ_EXECUTION .. member)
    redis.call('ZREM', K.RQ_EXECUTIONS .. task.j, request.execution)
    redis.call('SREM', K.RQ_WORKER .. request.caller .. ':executions', member)
  end
  redis.call('HSET', K.RQ_JOB .. task.j, 'status', RQ_STATUS[task.s], 'worker_name', task.s == 'running' and task.w or '')
  if task.s == 'queued' then
    -- The stock worker has taken it off RQ's list, too.
    unproject(task, row)
    project(task, row)
  end
  reply = {refused = why}
else
  -- The stock worker has given RQ's records an end.
  reply = {epoch = tonumber(redis.call('HGET', K.EPOCH, 'number')), claim = start(task, row, request, request.execution)}
  keep_execution(task)
end
return finish_call(request.caller, ARGV[1], reply)
