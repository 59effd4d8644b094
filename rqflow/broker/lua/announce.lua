-- A worker says what it holds: at its start, and again in each epoch. What Redis knows less of runs here from now on.
--
-- ARGV 1  request id   ARGV 2  JSON: caller, machine (absent for a stock worker), queues, executions {id: [run, index, try]}, lease (µs),
--   verifies (it runs only what was signed)
-- Returns JSON {closed: 'rebuild'} when Redis is not to be believed yet, else {epoch: number, given_up: [ids], unknown: [ids], unfinished: […]}.
-- `given_up`: another try of it has begun, its end is known, or its run was deleted. `unknown`: Redis has no such run.
local request = cjson.decode(ARGV[2])
local before = repeated(request.caller, ARGV[1])
if before then return before end

local why = closed_to(nil, nil)
if why then return finish_call(request.caller, ARGV[1], {closed = why}) end

local given_up, unknown = {}, {}
for execution, held in pairs(request.executions) do
  local run = get_run(held[1])
  local task = run and get_task(run, held[2])
  if not task and redis.call('EXISTS', K.DOOMED .. execution) == 1 then
    given_up[#given_up + 1] = execution
  elseif not task then
    unknown[#unknown + 1] = execution
  elseif task.s == 'running' and task.e == execution then
    if task.w ~= request.caller then
      put(HASH, K.HOLDS .. task.w, execution, false)
      task.w = request.caller
      put(HASH, K.HOLDS .. request.caller, execution, task.ref .. ':0')
    end
    renew(task, request.lease)
    touch(task)
  elseif task.t < held[3] or task.t == held[3] and WAITS[task.s] then
    local row, old = get_row(run, task.index), task.s
    take_out(task, row)
    task.t, task.m, task.s = held[3], math.max(task.m, held[3]), 'running'
    task.w, task.e, task.b, task.d, task.z, task.n, task.q, task.g = request.caller, execution, task.b or digits(call.now), nil, nil, nil, nil, nil
    task.k, task.dv, task.o = nil, nil, nil
    run_here(task, row, 0, request.lease)
    count_change(task, row, old, 'running')
    if TERMINAL[old] then reopen(run) end
    task_event(task)
  else
    given_up[#given_up + 1] = execution
  end
end
if request.machine then
  local state = {name = request.caller, queues = request.queues, verifies = request.verifies}
  redis.call('HSET', K.MACHINES, request.machine, cjson.encode(state))
  redis.call('SADD', K.ANNOUNCED, request.machine)
  if redis.call('LLEN', K.CALL) == 0 then redis.call('LPUSH', K.CALL, '1') end
end
do_work()
local number = tonumber(redis.call('HGET', K.EPOCH, 'number'))
return finish_call(request.caller, ARGV[1], {epoch = number, given_up = given_up, unknown = unknown, unfinished = unfinished_runs()})
