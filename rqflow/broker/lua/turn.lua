-- One turn of a worker: apply the ends that it tells, release what follows from them, claim tasks for its free slots.
--
-- ARGV 1  request id; a repeated id gets the first reply again      ARGV 2  JSON: caller, machine and epoch (or absent), number (of this turn), ends (as messages.py tells them), wanted,
--         queues, labels (absent: none), executions (28 hex digits, with which the ids of the claims begin), lease (µs), graces {queue or '': µs}, max_unrecorded
-- Returns JSON {closed: why nothing was claimed (as in _epoch.lua), or absent; but for 'admit' nothing was told either, claims: [[run, index, task id, try, execution, job, queue, version, started, last try,
--         grace in seconds (0: never), seconds since the try began for the first time, how often it has looked]…], accepted: ["ok"|"stale"…],
--         unfinished: [run keys whose frontier wants `advance`]}
-- Invariants: slots in use = tasks that hold them; a task is on exactly one of pending, parked, queued, running, scheduled, ended.
local request = cjson.decode(ARGV[2])
-- Kept apart from the replies to the caller's other steps: a worker may send some before it can ask for this one again.
local caller = request.caller .. ':turn'
local before = repeated(caller, ARGV[1])
if before then return before end

local why = closed_to(request.epoch, request.wanted > 0 and request.machine or nil)
if why and why ~= 'admit' then
  return finish_call(caller, ARGV[1], {closed = why, claims = {}, accepted = {}, unfinished = {}})
end
local accepted = {}
fetch_ended(request.ends)
for at, tell in ipairs(request.ends) do accepted[at] = finish(request, tell) end
do_work()
local claims = {}
if request.wanted > 0 and not why and redis.call('EXISTS', K.RETIRED .. request.caller) == 0 then claims = claim(request) end
-- A worker that was cut off asks again as soon as it can, which may be after days. One that ends, or takes over from one that was
-- killed, removes it.
return finish_call(caller, ARGV[1], {closed = why, claims = claims, accepted = accepted, unfinished = unfinished_runs()}, 8 * 86400)
