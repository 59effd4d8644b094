-- Runs as wholes: the versions that they need, how many of a DAG run at a time (max_active_runs), and for how long (dagrun_timeout).
--
-- K.ACTIVE has the runs of a DAG that run, K.WAITING those that wait for one of them to end, oldest first; such a run is `queued`, and none of its
-- tasks is offered. A run that is opened again by a clear runs at once: people asked for it. The runs of a backfill (`apart`) are not among them:
-- it has a limit of its own. K.DEADLINES has when a run must have ended (seconds).

-- In _release.lua: queues what is to be done for a run.
local push_work

-- A run has a version (`sha`) from now on; false when Redis lacks it, or something of the `copy` that its writer made, with so many `fields`.
-- The key of a version has all of it or is not there: so a copy takes its place at one stroke, when nothing of it is missing (Redis may have lost
-- some of it), and in the same step gets the run for which it is kept.
local function keep_version(sha, run, copy, fields)
  local version = K.VERSION .. sha
  local from = copy and version .. ':copy:' .. copy
  if redis.call('EXISTS', version) == 0 then
    if not from or redis.call('HLEN', from) ~= tonumber(fields) then return false end
    redis.call('RENAME', from, version)
    redis.call('PERSIST', version)
  elseif from then
    redis.call('UNLINK', from)
  end
  redis.call('SADD', version .. ':runs', run)
  return true
end

-- A run needs a version no more; the last one takes it along.
local function drop_version(sha, run)
  local runs = K.VERSION .. sha .. ':runs'
  redis.call('SREM', runs, run)
  if redis.call('SCARD', runs) == 0 then redis.call('UNLINK', K.VERSION .. sha, runs) end
end

-- A run is `running` from `since` (µs) on.
local function enter_active(run, since)
  if not run.apart then redis.call('SADD', K.ACTIVE .. run.dag, run.key) end
  local longest = dag_says(run).dagrun_timeout
  if longest then redis.call('ZADD', K.DEADLINES, spelled_seconds(since + longest), run.key) end
end

-- A run is not running any more.
local function leave_active(run)
  redis.call('SREM', K.ACTIVE .. run.dag, run.key)
  if dag_says(run).dagrun_timeout then redis.call('ZREM', K.DEADLINES, run.key) end
  call.closed[run.dag] = true
end

-- Whether as many runs of this one's DAG run as may.
local function is_full(run)
  local most = dag_says(run).max_active_runs
  return most and not run.apart and redis.call('SCARD', K.ACTIVE .. run.dag) >= most
end

-- A run that waits for others of its DAG.
local function wait_for_runs(run)
  run.state = 'queued'
  redis.call('ZADD', K.WAITING .. run.dag, spelled_seconds(call.now), run.key)
  run_event(run)
end

-- Start a run: its roots are offered when the work that this queues is done.
local function start_run(run)
  redis.call('ZREM', K.WAITING .. run.dag, run.key)
  run.state, run.started = 'running', call.at
  enter_active(run, call.now)
  run_event(run)
  push_work(run, {'e', 0})
end

-- Start the runs for which those that this call has closed made room; returns whether there was one.
local function start_waiting_runs()
  local closed, was_started = call.closed, false
  call.closed = {}
  for dag in pairs(closed) do
    while true do
      local key = redis.call('ZRANGE', K.WAITING .. dag, '0', '0')[1]
      local run = key and get_run(key)
      if not key or run and run.state == 'queued' and is_full(run) then break end
      if run and run.state == 'queued' then
        start_run(run)
        was_started = true
      else
        redis.call('ZREM', K.WAITING .. dag, key)
      end
    end
  end
  return was_started
end

-- Remove what Redis has of a run, when all of its jobs are off the lists, and its versions when no other run has them. `past` is its field.
local function drop_run(run, version, past)
  local key = K.RUN .. run
  -- Large hashes: Redis frees them beside its work.
  for _, sha in ipairs(redis.call('SMEMBERS', key .. ':vs')) do drop_version(sha, run) end
  redis.call('UNLINK', key, key .. ':r', key .. ':vs', key .. ':t', key .. ':x', key .. ':f', key .. ':v', key .. ':p')
  if past then forget_past(run, past) end
  redis.call('ZREM', K.DONE, run)
  redis.call('ZREM', K.LIVE, run)
  redis.call('ZREM', K.PREPARING, run)
  drop_version(version, run)
end
