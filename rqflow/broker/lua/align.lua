-- Move the time for which retries wait, never before now.
--
-- ARGV 1  request id   ARGV 2  JSON: caller, run, dues [[index, number of the try that ended, when the next one is due in µs as text]…]
-- Returns JSON {moved: [[index, when it was due, when it is due, in µs as texts]…]}. Only tasks that wait for the retry after that very try are moved.
local request = cjson.decode(ARGV[2])
local before = repeated(request.caller, ARGV[1])
if before then return before end

local run, moved = get_run(request.run), {}
for _, due in ipairs(run and request.dues or {}) do
  local task = get_task(run, due[1])
  if task and task.s == 'up_for_retry' and task.t == due[2] then
    local was = task.n
    task.n = digits(math.max(tonumber(due[3]), call.now))
    moved[#moved + 1] = {due[1], was, task.n}
    put(ZSET, K.RQ_SCHEDULED_JOBS, task.j, spelled_seconds(tonumber(task.n)))
    put(HASH, K.DUE, task.j, task.ref)
    call.wake = true
    touch(task)
  end
end
return finish_call(request.caller, ARGV[1], {moved = moved})
