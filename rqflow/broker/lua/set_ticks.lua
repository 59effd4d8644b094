-- Set the alarms by which the leading scheduler wakes for the next scheduled runs of DAGs.
--
-- ARGV 1  request id   ARGV 2  JSON: caller, ticks [[name of the entry, dag_id, when it is due in seconds as text, or false: never]…]
-- Returns JSON {ok: 1}. The entries stand in rq-scheduler's set; whether something is due is in SQL, so that an alarm too many does no harm.
local request = cjson.decode(ARGV[2])
local before = repeated(request.caller, ARGV[1])
if before then return before end

for _, tick in ipairs(request.ticks) do
  put(ZSET, K.RQ_SCHEDULED_JOBS, tick[1], tick[3])
  put(HASH, K.DUE, tick[1], tick[3] and 'tick:' .. tick[2])
end
call.wake = true
return finish_call(request.caller, ARGV[1], {ok = 1})
