-- Declare a try lost that cannot be reached: its grace is over, or a person knows that it is gone.
--
-- ARGV 1  request id   ARGV 2  JSON: caller, run, index, execution, retry_in (s), reason
-- Returns {closed: true}, with nothing done, when Redis is not to be believed; else
-- JSON {state: of the task instance afterwards | 'gone', lost: bool, unfinished: […]}. A try that was heard of again, or ended, stays.
local request = cjson.decode(ARGV[2])
local before = repeated(request.caller, ARGV[1])
if before then return before end
if closed_to(nil) then return cjson.encode({closed = true}) end

local run = get_run(request.run)
local task = run and get_task(run, request.index)
if not task then return finish_call(request.caller, ARGV[1], {state = 'gone', lost = false, unfinished = {}}) end
local lost = task.s == 'running' and task.e == request.execution and task.u ~= nil
if lost then
  declare_lost(task, request.reason, request.retry_in)
  do_work()
end
return finish_call(request.caller, ARGV[1], {state = task.s, lost = lost, unfinished = unfinished_runs()})
