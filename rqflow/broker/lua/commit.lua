-- Start a run that was prepared: from here on it is live, and its roots are offered to the workers; it waits when its DAG has no room for it.
--
-- ARGV 1  request id   ARGV 2  JSON: caller, run, is_left (its creator is gone: only where Redis is to be believed, else {closed: true})
-- Returns JSON {state: 'running' | 'queued' | 'exists' | 'gone', unfinished: […]}. Committing twice is the same as once.
local request = cjson.decode(ARGV[2])
local before = repeated(request.caller, ARGV[1])
if before then return before end

if request.is_left and closed_to(nil) then return cjson.encode({closed = true}) end
local key = K.RUN .. request.run
local seen = redis.call('HMGET', key, 'state', 'preparing', 'left')
if seen[1] then return finish_call(request.caller, ARGV[1], {state = 'exists', unfinished = {}}) end
if not seen[2] then return finish_call(request.caller, ARGV[1], {state = 'gone', unfinished = {}}) end
redis.call('HDEL', key, 'preparing')
redis.call('ZREM', K.PREPARING, request.run)
local counts = seen[3] == '0' and '{}' or '{"pending":' .. seen[3] .. '}'
redis.call('HSET', key, 'state', 'queued', 'n', counts)
redis.call('ZADD', K.LIVE, math.floor(call.now / 1000000), request.run)
local run = get_run(request.run)
follow_past(run)
look_after(run)
if is_full(run) then wait_for_runs(run) else start_run(run) end
local state = run.state
do_work()
return finish_call(request.caller, ARGV[1], {state = state, unfinished = unfinished_runs()})
