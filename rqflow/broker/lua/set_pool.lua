-- Make a pool, change its slots, or remove it; free slots go to the tasks that wait for them at once.
--
-- ARGV 1  request id   ARGV 2  JSON: caller, name, slots (absent: remove)
-- Returns JSON {ok: 1}. A pool made smaller than what is in use lets what runs go on.
local request = cjson.decode(ARGV[2])
local before = repeated(request.caller, ARGV[1])
if before then return before end

if request.slots then redis.call('HSET', K.POOLS, request.name, request.slots) else redis.call('HDEL', K.POOLS, request.name) end
call.freed['pool:' .. request.name] = true
hand_over_all()
return finish_call(request.caller, ARGV[1], {ok = 1})
