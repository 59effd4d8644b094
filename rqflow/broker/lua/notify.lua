-- Say once that a try has been unreachable for long.
--
-- ARGV 1  request id   ARGV 2  JSON: caller, tries [[run, index, execution]…]
-- Returns JSON {noticed: [[dag, run id, task, try, worker, since in µs, grace in µs or 0]…]}.
local request = cjson.decode(ARGV[2])
local before = repeated(request.caller, ARGV[1])
if before then return before end

local noticed = {}
for _, one in ipairs(request.tries) do
  redis.call('ZREM', K.NOTICES, one[1] .. ':' .. one[2] .. ':' .. one[3])
  local run = get_run(one[1])
  local task = run and get_task(run, one[2])
  if task and task.s == 'running' and task.e == one[3] and task.u then
    note_event(task, 'notice', 'unreachable for long')
    noticed[#noticed + 1] = {run.dag, run.run_id, get_row(run, one[2]).id, task.t, task.w, tonumber(task.u), task.gr or 0}
  end
end
return finish_call(request.caller, ARGV[1], {noticed = noticed})
