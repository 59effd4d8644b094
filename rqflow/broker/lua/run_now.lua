-- Queue a task that waits for its time, at once.
--
-- ARGV 1  request id   ARGV 2  JSON: caller, run, index, version and row (JSON) that a retry follows from now on, which keep_version brought (absent: none)
-- Returns JSON {state: its state before}. Only one that waits for a retry, or for its next look, is queued; any other is left as it is.
local request = cjson.decode(ARGV[2])
local before = repeated(request.caller, ARGV[1])
if before then return before end

local run = get_run(request.run)
local task = run and get_task(run, request.index)
if not task then return finish_call(request.caller, ARGV[1], {state = ''}) end
local state = task.s
if state == 'up_for_retry' and request.row then follow_version(task, get_row(run, request.index), request.version, request.row) end
if state == 'up_for_retry' or state == 'up_for_reschedule' then queue_again(task, state == 'up_for_retry') end
return finish_call(request.caller, ARGV[1], {state = state})
