-- Cancel a run, or one task instance of it. What runs is marked, and ends as cancelled when its processes are gone.
--
-- ARGV 1  request id   ARGV 2  JSON: caller, run, index (absent: the whole run), by, how (JSON of how what runs is ended, which its worker reads;
--         absent: as its settings say)
-- Returns JSON {state: of the run or task afterwards | 'gone', unfinished: […]}. Cancelling what has ended changes nothing.
local request = cjson.decode(ARGV[2])
local before = repeated(request.caller, ARGV[1])
if before then return before end

local run = get_run(request.run)
if not run then return finish_call(request.caller, ARGV[1], {state = 'gone', unfinished = {}}) end
local state
if request.index == nil then
  if not TERMINAL_RUN[run.state] and (request.how or not run.cancel) then
    if request.how then redis.call('HSET', K.RUN .. run.key, 'how', digits(call.now) .. ' ' .. request.how) end
    if not run.cancel then
      run.cancel = true
      if run.state == 'queued' then start_run(run) end
      redis.call('HSET', K.RUN .. run.key, 'cancel', request.by)
    end
    push_work(run, {'x', 0})
    do_work()
  end
  state = run.state
else
  local task = get_task(run, request.index)
  if not TERMINAL[task.s] then
    -- Of this execution alone: a later one may be cancelled in another way.
    if request.how and task.s == 'running' then redis.call('HSET', K.RUN .. run.key, 'how:' .. task.index, digits(call.now) .. ' ' .. task.e .. ' ' .. request.how) end
    cancel_task(task, 'cancelled by ' .. request.by)
    do_work()
  end
  state = task.s
end
return finish_call(request.caller, ARGV[1], {state = state, unfinished = unfinished_runs()})
