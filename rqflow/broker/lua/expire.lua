-- Give up a run that takes longer than its dagrun_timeout: what waits is cancelled, what runs is stopped, and the run fails.
--
-- ARGV 1  request id   ARGV 2  JSON: caller, run
-- Returns JSON {state: of the run afterwards | 'gone', unfinished: […]}. Nothing is done in a Redis that is not to be believed ({closed: true}), or
-- when the run has ended meanwhile or its time is not over: it may have been opened again.
local request = cjson.decode(ARGV[2])
local before = repeated(request.caller, ARGV[1])
if before then return before end

if closed_to(nil) then return cjson.encode({closed = true}) end
local run = get_run(request.run)
local due = redis.call('ZSCORE', K.DEADLINES, request.run)
if not run or run.state ~= 'running' then
  redis.call('ZREM', K.DEADLINES, request.run)
elseif due and tonumber(due) * 1000000 <= call.now then
  redis.call('ZREM', K.DEADLINES, request.run)
  if not run.cancel then
    run.cancel, run.expired = true, true
    redis.call('HSET', K.RUN .. run.key, 'cancel', 'dagrun_timeout', 'expired', digits(call.now))
    push_work(run, {'x', 0})
    do_work()
  end
end
return finish_call(request.caller, ARGV[1], {state = run and run.state or 'gone', unfinished = unfinished_runs()})
