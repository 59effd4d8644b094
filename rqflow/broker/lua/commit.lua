-- Start a run that was prepared: from here on it is live, and its roots are offered to the workers.
--
-- ARGV 1  request id   ARGV 2  JSON: caller, run, is_left (its creator is gone: only where Redis is to be believed, else {closed: true})
-- Returns JSON {state: 'running' | 'exists' | 'gone', unfinished: […]}. Committing twice is the same as once.
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
redis.call('HSET', key, 'state', 'running', 'n', counts, 'started', digits(call.now))
redis.call('ZADD', K.LIVE, math.floor(call.now / 1000000), request.run)
local run = get_run(request.run)
run_event(run)
push_work(run, {'e', 0})
do_work()
return finish_call(request.caller, ARGV[1], {state = 'running', unfinished = unfinished_runs()})
