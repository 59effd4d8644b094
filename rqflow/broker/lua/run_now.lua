-- Queue a task at once that waits for its time, or is parked: whatever holds it but the labels that it asks for counts no more.
--
-- ARGV 1  request id   ARGV 2  JSON: caller, run, index, version and row (JSON) that a retry, or what is parked, follows from now on, which keep_version
--         brought (absent: none)
-- Returns JSON {state: its state before, unfinished: [...]}. Only one that waits for a retry, or for its next look, or is parked, is queued; any other
-- is left as it is. What was parked takes its slots also where there are none left: others wait until so many are free again.
local request = cjson.decode(ARGV[2])
local before = repeated(request.caller, ARGV[1])
if before then return before end

local run = get_run(request.run)
local task = run and get_task(run, request.index)
if not task then return finish_call(request.caller, ARGV[1], {state = '', unfinished = {}}) end
local state, row = task.s, get_row(run, request.index)
if state == 'parked' then leave_waiting(task, row) end
if request.row and (state == 'up_for_retry' or state == 'parked') then row = follow_version(task, row, request.version, request.row) end
if state == 'up_for_retry' or state == 'up_for_reschedule' then queue_again(task, state == 'up_for_retry') end
if state == 'parked' then
  task.lw = nil
  if not row.e then hold_slots(task, row) end
  release(task)
  do_work()
end
return finish_call(request.caller, ARGV[1], {state = state, unfinished = unfinished_runs()})
