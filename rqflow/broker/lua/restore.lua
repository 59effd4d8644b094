-- Put task instances of a run into the states that the history tells, where that knows more than Redis.
--
-- ARGV 1  request id   ARGV 2  JSON: caller, run, tasks [task instance as in _core.lua, and i its index; row (JSON) of one that follows another version,
--         which keep_version brought …], lease (µs),
--         last (bool: these were the last ones), branches [indices of those that skip others], started and ended (of the run, µs, or
--         absent), cancel (who, or absent)
-- Returns JSON {changed: n, unfinished: […]}. The run was announced and written before, or is live. Repeats change nothing: a task
-- instance is replaced only by one of a later (try, event).
-- What waited for a worker is judged anew once all are there, so nothing of gates and queues has to be told.
local request = cjson.decode(ARGV[2])
local before = repeated(request.caller, ARGV[1])
if before then return before end

local run = get_run(request.run)
if not run then
  local key = K.RUN .. request.run
  local seen = redis.call('HMGET', key, 'preparing', 'left')
  if not seen[1] then return finish_call(request.caller, ARGV[1], {changed = 0, unfinished = {}}) end
  redis.call('HDEL', key, 'preparing')
  redis.call('ZREM', K.PREPARING, request.run)
  redis.call('HSET', key, 'state', 'running', 'n', seen[2] == '0' and '{}' or '{"pending":' .. seen[2] .. '}', 'started', request.started or digits(call.now))
  redis.call('ZADD', K.LIVE, math.floor(call.now / 1000000), request.run)
  call.runs[request.run] = nil
  run = get_run(request.run)
  follow_past(run)
  enter_active(run, tonumber(request.started or call.at))
end
run.had_ended = request.ended
if run.state ~= 'running' then run.ended = redis.call('HGET', K.RUN .. run.key, 'ended') or request.ended end
if request.cancel and not run.cancel then
  run.cancel = true
  redis.call('HSET', K.RUN .. run.key, 'cancel', request.cancel)
end

local changed = 0
for _, told in ipairs(request.tasks) do
  local task = get_task(run, told.i)
  if task.s ~= 'removed' and (told.t > task.t or told.t == task.t and tonumber(told.v) > tonumber(task.v or '0')) then
    local row, old = get_row(run, told.i), task.s
    take_out(task, row)
    for _, field in ipairs({'s', 't', 'm', 'v', 'z', 'w', 'e', 'b', 'd', 'n', 'y', 'mk', 'k', 'o', 'dv', 'xk', 'gr', 'f'}) do task[field] = told[field] end
    task.q, task.g, task.a = nil, nil, nil
    if task.s == 'queued' or task.s == 'parked' and not told.asks then task.s = 'pending' end
    if told.row then row = follow_version(task, row, told.vs, told.row) end
    if task.s == 'running' then run_here(task, row, 0, request.lease) else project(task, row) end
    count_change(task, row, old, task.s)
    touch(task)
    changed = changed + 1
  end
end

if request.last then
  for _, index in ipairs(request.branches) do push_work(run, {'k', index, 1}) end
  if run.cancel then push_work(run, {'x', 0}) end
  push_work(run, {'j', 0})
  look_after(run)
  run_event(run)
  do_work()
end
return finish_call(request.caller, ARGV[1], {changed = changed, unfinished = unfinished_runs()})
