-- Keep one XCom of a task instance outside the end of its try.
--
-- ARGV 1  request id   ARGV 2  JSON: caller, run, index, key, value (JSON text)
-- Returns JSON {ok: 1 | 0 (Redis does not know the run)}.
local request = cjson.decode(ARGV[2])
local before = repeated(request.caller, ARGV[1])
if before then return before end

local run = get_run(request.run)
local task = run and get_task(run, request.index)
if not task then return finish_call(request.caller, ARGV[1], {ok = 0}) end
keep_xcoms(task, get_row(run, request.index), {[request.key] = request.value})
touch(task)
return finish_call(request.caller, ARGV[1], {ok = 1})
