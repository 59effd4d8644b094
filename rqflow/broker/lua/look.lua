-- What recovery sees: leases and graces that are over, notices that are due, runs with work left over, queues of which RQ's list lacks jobs.
--
-- ARGV 1  request id   ARGV 2  JSON: caller, lease (µs), pause (µs, the longest that may lie between two looks), limit (of each kind)
-- Returns JSON {fresh: bool, expired: [[run, index, execution, lease end in s]…], over: [[run, index, execution]…], notices: [same],
--   late: [runs that take longer than they may], frontiers: [runs], preparing: [[run, since in s]…], now: s, queues: [names]}.
-- Time that nobody watched never counts: after a start of Redis or of the leader, a halt, or a step of the clock, all leases are given anew
-- and what was left of a grace is left of it still.
local request = cjson.decode(ARGV[2])
local before = repeated(request.caller, ARGV[1])
if before then return before end

local function at_most(set, score)
  local list = {}
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', set, '-inf', score, 'LIMIT', 0, request.limit)) do
    local run, index, execution = string.match(member, '^(.*):(%d+):(.*)$')
    list[#list + 1] = {run, tonumber(index), execution}
  end
  return list
end

-- Give all leases anew, and shift the ends of graces by the time that was not watched.
local function freshen(gone)
  for _, member in ipairs(redis.call('ZRANGE', K.LEASES, 0, -1)) do
    redis.call('ZADD', K.LEASES, 'XX', (call.now + request.lease) / 1000000, member)
  end
  for _, set in ipairs({K.UNREACHABLE, K.NOTICES}) do
    for _, member in ipairs(redis.call('ZRANGEBYSCORE', set, '-inf', '(+inf')) do redis.call('ZINCRBY', set, gone / 1000000, member) end
  end
end

local seconds = string.format('%.6f', call.now / 1000000)
local last = tonumber(redis.call('GET', K.WATCHED) or '0')
local gone = call.now - last
local fresh = request.first or gone > request.pause or gone < 0
if fresh then freshen(last > 0 and gone or 0) end
redis.call('SET', K.WATCHED, digits(call.now))

local reply = {fresh = fresh, now = call.now / 1000000, over = at_most(K.UNREACHABLE, seconds), notices = at_most(K.NOTICES, seconds),
  expired = at_most(K.LEASES, seconds), frontiers = {},
  late = redis.call('ZRANGEBYSCORE', K.DEADLINES, '-inf', seconds, 'LIMIT', 0, request.limit), preparing = {}, queues = {}}
for _, one in ipairs(reply.expired) do one[4] = tonumber(redis.call('ZSCORE', K.LEASES, one[1] .. ':' .. one[2] .. ':' .. one[3])) end
for _, run in ipairs(redis.call('ZRANGE', K.LIVE, 0, -1)) do
  if redis.call('EXISTS', K.RUN .. run .. ':f', K.RUN .. run .. ':v') > 0 then reply.frontiers[#reply.frontiers + 1] = run end
end
local preparing = redis.call('ZRANGE', K.PREPARING, 0, request.limit - 1, 'WITHSCORES')
for at = 1, #preparing, 2 do reply.preparing[#reply.preparing + 1] = {preparing[at], tonumber(preparing[at + 1])} end
for _, key in ipairs(redis.call('SMEMBERS', K.RQ_QUEUES)) do
  local queue = string.sub(key, #K.RQ_QUEUE + 1)
  if redis.call('ZCARD', K.READY .. queue) > redis.call('LLEN', key) then reply.queues[#reply.queues + 1] = queue end
end
return finish_call(request.caller, ARGV[1], reply)
