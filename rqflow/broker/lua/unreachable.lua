-- Mark running tries whose leases ran out: their workers are not heard of. They count as running still.
--
-- ARGV 1  request id   ARGV 2  JSON: caller, tries [[run, index, execution, lease end in s]…], notice_after (µs)
-- Returns {closed: true}, with nothing done, when Redis is not to be believed; else
-- JSON {marked: n}. One that was renewed meanwhile is left alone.
local request = cjson.decode(ARGV[2])
local before = repeated(request.caller, ARGV[1])
if before then return before end
if closed_to(nil) then return cjson.encode({closed = true}) end

local marked = 0
for _, one in ipairs(request.tries) do
  local member = one[1] .. ':' .. one[2] .. ':' .. one[3]
  local run = get_run(one[1])
  local task = run and get_task(run, one[2])
  local score = tonumber(redis.call('ZSCORE', K.LEASES, member) or 'inf')
  if not task or task.s ~= 'running' or task.e ~= one[3] then
    redis.call('ZREM', K.LEASES, member)
  elseif score * 1000000 <= call.now then
    task.u = digits(score * 1000000 + 0.5)
    redis.call('ZREM', K.LEASES, member)
    redis.call('ZADD', K.UNREACHABLE, task.gr and score + task.gr / 1000000 or '+inf', member)
    redis.call('ZADD', K.NOTICES, score + request.notice_after / 1000000, member)
    note_event(task, 'unreachable', 'its worker is not heard of; it counts as running still')
    marked = marked + 1
  end
end
return finish_call(request.caller, ARGV[1], {marked = marked})
