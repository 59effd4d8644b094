-- Continue what an earlier step of a run left over because its budget was used up.
--
-- ARGV 1  request id   ARGV 2  JSON: caller, run
-- Returns JSON {unfinished: [the run, while there is more]}. In a Redis that is not to be believed nothing is done: the leader judges the run
-- anew.
local request = cjson.decode(ARGV[2])
local before = repeated(request.caller, ARGV[1])
if before then return before end

local run = get_run(request.run)
if run and not closed_to(nil) then
  push_work(run, nil)
  do_work()
end
return finish_call(request.caller, ARGV[1], {unfinished = unfinished_runs()})
