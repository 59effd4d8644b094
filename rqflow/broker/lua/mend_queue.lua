-- Put jobs that are ready for long, and that RQ's list lacks, on the list again: a stock worker popped them and died.
--
-- ARGV 1  request id   ARGV 2  JSON: caller, queue, older_than (µs)
-- Returns JSON {pushed: n}. Looks at the first 2,000 that are ready.
local request = cjson.decode(ARGV[2])
local before = repeated(request.caller, ARGV[1])
if before then return before end

local listed, pushed = {}, 0
for _, job in ipairs(redis.call('LRANGE', K.RQ_QUEUE .. request.queue, 0, -1)) do listed[job] = true end
for _, member in ipairs(redis.call('ZRANGE', K.READY .. request.queue, 0, 1999)) do
  local task = get_ref(string.sub(member, 15))
  if task and task.s == 'queued' and not listed[task.j] and call.now - tonumber(task.a or '0') > request.older_than then
    project(task, get_row(task.run, task.index))
    pushed = pushed + 1
  end
end
return finish_call(request.caller, ARGV[1], {pushed = pushed})
