-- Remove a finished, or never committed, run from Redis, some tasks at a time.
--
-- ARGV 1  run key   ARGV 2  index to begin with   ARGV 3  tasks in this call
-- Returns the index to go on with, or -1 when nothing is left. A live run is refused (-2).
local key = K.RUN .. ARGV[1]
local seen = redis.call('HMGET', key, 'state', 'preparing', 'total', 'version', 'past')
if not seen[3] then return -1 end
if seen[1] == 'running' or seen[1] == 'queued' then return -2 end
local from, total = tonumber(ARGV[2]), tonumber(seen[3])
local upto = math.min(from + tonumber(ARGV[3]), total)
for index = from, upto - 1 do
  local text = redis.call('HGET', key .. ':t', index)
  if text then
    local task = cjson.decode(text)
    local queue = row_of(redis.call('HGET', key .. ':r', index) or redis.call('HGET', K.VERSION .. seen[4], index)).q
    if task.s ~= 'removed' and seen[1] then unproject(task, {q = queue}) end
    redis.call('DEL', K.RQ_JOB .. task.j, K.RQ_EXECUTIONS .. task.j, K.RQ_RESULTS .. task.j)
  end
end
write_noted()
if upto < total then return upto end
drop_run(ARGV[1], seen[4], seen[5])
return -1
