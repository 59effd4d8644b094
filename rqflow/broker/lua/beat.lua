-- A worker lives, and names every execution that it runs.
--
-- ARGV 1  request id   ARGV 2  JSON: caller, machine, recorded [executions whose recording it knows of], epoch (of its announcement, or absent), executions {id: [run, index, try]}, number (of the last
--         turn whose reply it has), lease (µs)
-- Returns JSON {closed: why (as in _epoch.lua, or absent), recorded: [executions whose ends the history has, and Redis too], cancel: [ids], how: {id: as in cancel.lua}, given_up: [ids], unknown: [ids], unfinished: […]}. A person wants `cancel` stopped; `given_up` was declared
-- lost, and another try may run, or its run was deleted; of `unknown` Redis knows nothing, or less. What Redis holds for this worker since a turn that it has the
-- reply of, and that it does not name, never started: it goes back to its queue, same try.
local request = cjson.decode(ARGV[2])
local before = repeated(request.caller .. ':beat', ARGV[1])
if before then return before end

-- How a person wants this execution ended: the later of what was said of the task and of its run; nil: as its worker's settings say.
local function how_to_end(run, task)
  local wishes = redis.call('HMGET', K.RUN .. run.key, 'how:' .. task.index, 'how')
  local own_at, of, own = string.match(wishes[1] or '', '^(%d+) (%S+) (.*)$')
  local run_at, whole = string.match(run.cancel and wishes[2] or '', '^(%d+) (.*)$')
  if of ~= task.e then return whole end
  return whole and tonumber(run_at) > tonumber(own_at) and whole or own
end

-- A Redis that is not to be believed gives nothing up and nothing back.
local closed = closed_to(request.epoch)
local cancel, how, given_up, unknown = {}, {}, {}, {}
for execution, named in pairs(request.executions) do
  local run = get_run(named[1])
  local task = run and get_task(run, named[2])
  if task and task.s == 'running' and task.e == execution then
    renew(task, request.lease)
    -- A stock worker's own heartbeat gives this entry an end; `rq info` would fail the job after it.
    redis.call('ZADD', K.RQ_WIP .. get_row(run, task.index).q, 'XX', '+inf', task.j .. ':' .. execution)
    if task.y or task.mk then
      cancel[#cancel + 1] = execution
      how[execution] = how_to_end(run, task)
    end
  elseif not closed and task and (task.t > named[3] or task.t == named[3] and not WAITS[task.s]) then
    given_up[#given_up + 1] = execution
  elseif not task and redis.call('EXISTS', K.DOOMED .. execution) == 1 then
    -- Its run was deleted while nobody heard of this worker.
    given_up[#given_up + 1] = execution
  else
    unknown[#unknown + 1] = execution
  end
end
local held = closed and {} or redis.call('HGETALL', K.HOLDS .. request.caller)
for at = 1, #held, 2 do
  local execution = held[at]
  local ref, number = string.match(held[at + 1], '^(.*):(%d+)$')
  if not request.executions[execution] and tonumber(number) <= request.number then
    put(HASH, K.HOLDS .. request.caller, execution, false)
    local task = get_ref(ref)
    if task and task.s == 'running' and task.e == execution then give_back(task) end
  end
end
do_work()
-- An end that the history has while Redis counts it as running was recorded after Redis had been put right from the history: it must be told again,
-- so its worker must keep it until then.
local recorded, runs_here = {}, {}
for at = 1, #held, 2 do runs_here[held[at]] = true end
if request.machine and not closed then
  for at = 1, #request.recorded, 1000 do
    redis.call('SREM', K.RECORDED .. request.machine, unpack(request.recorded, at, math.min(at + 999, #request.recorded)))
  end
  for _, execution in ipairs(redis.call('SRANDMEMBER', K.RECORDED .. request.machine, 10000)) do
    if not runs_here[execution] then recorded[#recorded + 1] = execution end
  end
end
return finish_call(request.caller .. ':beat', ARGV[1],
  {closed = closed, recorded = recorded, cancel = cancel, how = how, given_up = given_up, unknown = unknown, unfinished = unfinished_runs()})
