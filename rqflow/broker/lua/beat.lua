-- A worker lives, and names every execution that it runs.
--
-- ARGV 1  request id   ARGV 2  JSON: caller, executions {id: "run:index"}, number (of the last turn whose reply it has), lease (µs)
-- Returns JSON {cancel: [ids], unknown: [ids], unfinished: […]}. What Redis holds for this worker since a turn that it has the reply of, and that it
-- does not name, never started: it goes back to its queue, same try.
local request = cjson.decode(ARGV[2])
local before = repeated(request.caller .. ':beat', ARGV[1])
if before then return before end

local cancel, unknown = {}, {}
for execution, ref in pairs(request.executions) do
  local task = get_ref(ref)
  if not task or task.s ~= 'running' or task.e ~= execution then
    unknown[#unknown + 1] = execution
  else
    redis.call('ZADD', K.LEASES, (call.now + request.lease) / 1000000, ref .. ':' .. execution)
    -- A stock worker's own heartbeat gives this entry an end; `rq info` would fail the job after it.
    redis.call('ZADD', K.RQ_WIP .. get_row(task.run, task.index).q, 'XX', '+inf', task.j .. ':' .. execution)
    if task.y or task.mk then cancel[#cancel + 1] = execution end
  end
end
local held = redis.call('HGETALL', K.HOLDS .. request.caller)
for at = 1, #held, 2 do
  local execution = held[at]
  local ref, number = string.match(held[at + 1], '^(.*):(%d+)$')
  if not request.executions[execution] and tonumber(number) <= request.number then
    redis.call('HDEL', K.HOLDS .. request.caller, execution)
    local task = get_ref(ref)
    if task and task.s == 'running' and task.e == execution then
      let_go(task)
      free_slots(task, get_row(task.run, task.index))
      task.z = nil
      if task.mk then
        local state = task.mk
        task.mk = nil
        settle(task, state)
      elseif task.y or task.run.cancel then
        task.z = 'cancelled before it started'
        settle(task, 'cancelled')
      else
        queue_again(task, false)
      end
    end
  end
end
do_work()
return finish_call(request.caller .. ':beat', ARGV[1], {cancel = cancel, unknown = unknown, unfinished = unfinished_runs()})
