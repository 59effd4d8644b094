-- The projection into RQ: its lists, sets and job hashes show what rqflow's own state is (the table is in states.py). No step reads it.
--
-- A task instance is taken off where its old state shows (`unproject`) and put where its new one does (`project`); both are only noted, so
-- that one that goes through several states in a step is written once, as it is at the end.

-- Civil date from days since 1970 (proleptic Gregorian), for the time format that RQ writes.
local function iso(us)
  local seconds = math.floor(us / 1000000)
  local days = math.floor(seconds / 86400)
  local rest = seconds - days * 86400
  local z = days + 719468
  local era = math.floor(z / 146097)
  local doe = z - era * 146097
  local yoe = math.floor((doe - math.floor(doe / 1460) + math.floor(doe / 36524) - math.floor(doe / 146096)) / 365)
  local doy = doe - (365 * yoe + math.floor(yoe / 4) - math.floor(yoe / 100))
  local mp = math.floor((5 * doy + 2) / 153)
  local day = doy - math.floor((153 * mp + 2) / 5) + 1
  local month = mp < 10 and mp + 3 or mp - 9
  local year = yoe + era * 400 + (month <= 2 and 1 or 0)
  return string.format('%04d-%02d-%02dT%02d:%02d:%02d.%06dZ', year, month, day, math.floor(rest / 3600), math.floor(rest % 3600 / 60),
    rest % 60, us % 1000000)
end

-- The queue list of RQ is kept in order: jobs to be pushed at the end of the step, and where each stands among them.
local function list_job(queue, job)
  local list = call.listed[queue]
  if not list then
    list = {jobs = {}, at = {}}
    call.listed[queue] = list
  end
  list.jobs[#list.jobs + 1] = job
  list.at[job] = #list.jobs
end

local function unlist_job(queue, job)
  local list = call.listed[queue]
  local at = list and list.at[job]
  if at then
    list.jobs[at], list.at[job] = false, nil
  else
    redis.call('LREM', K.RQ_QUEUE .. queue, 1, job)
  end
end

-- Take a task instance's job off whatever list or set of RQ shows its old state.
local function unproject(task, row)
  local s = task.s
  if s == 'pending' or s == 'parked' then
    put(ZSET, K.RQ_DEFERRED .. row.q, task.j, false)
  elseif s == 'queued' then
    unlist_job(row.q, task.j)
  elseif s == 'running' then
    local member = task.j .. ':' .. task.e
    put(ZSET, K.RQ_WIP .. row.q, member, false)
    redis.call('DEL', K.RQ_EXECUTION .. member, K.RQ_EXECUTIONS .. task.j)
    put(SET, K.RQ_WORKER .. task.w .. ':executions', member, false)
  elseif s == 'up_for_retry' or s == 'up_for_reschedule' then
    put(ZSET, K.RQ_SCHEDULED_JOBS, task.j, false)
    put(HASH, K.DUE, task.j, false)
  elseif s == 'success' or s == 'skipped' then
    put(ZSET, K.RQ_FINISHED .. row.q, task.j, false)
  elseif s == 'failed' or s == 'lost' then
    put(ZSET, K.RQ_FAILED .. row.q, task.j, false)
  else
    put(ZSET, K.RQ_CANCELED .. row.q, task.j, false)
  end
end

-- Show a task that waits for its upstream.
local function show_deferred(task, row)
  put(ZSET, K.RQ_DEFERRED .. row.q, task.j, call.seconds)
end

-- The execution record of a running try, as RQ's tools read it.
local function show_execution(task, row)
  local member = task.j .. ':' .. task.e
  call.moment = call.moment or spelled_seconds(call.now)
  put(ZSET, K.RQ_WIP .. row.q, member, '+inf')
  redis.call('HSET', K.RQ_EXECUTION .. member, 'id', task.e, 'job_id', task.j, 'created_at', call.moment, 'last_heartbeat', call.moment,
    'worker_name', task.w)
  redis.call('ZADD', K.RQ_EXECUTIONS .. task.j, '+inf', task.e)
  put(SET, K.RQ_WORKER .. task.w .. ':executions', member, true)
end

-- Show a task instance's new state in RQ.
local function project(task, row)
  local s = task.s
  local shown = call.jobs[task.j] or {}
  call.jobs[task.j], shown.task = shown, task
  if s == 'pending' or s == 'parked' then
    show_deferred(task, row)
  elseif s == 'queued' then
    shown.queued = true
    list_job(row.q, task.j)
  elseif s == 'running' then
    show_execution(task, row)
  elseif s == 'up_for_retry' or s == 'up_for_reschedule' then
    put(ZSET, K.RQ_SCHEDULED_JOBS, task.j, spelled_seconds(tonumber(task.n)))
    put(HASH, K.DUE, task.j, task.ref)
    call.wake = true
  elseif s ~= 'removed' then
    local status = RQ_STATUS[s]
    local set = status == 'finished' and K.RQ_FINISHED or status == 'failed' and K.RQ_FAILED or K.RQ_CANCELED
    put(ZSET, set .. row.q, task.j, '+inf')
  end
end

-- Write the hash of a job whose state has changed. It has no last_heartbeat: nobody would renew it, a worker's own and its leases tell that.
local function write_job(job, task, was_queued)
  local s, key, now = task.s, K.RQ_JOB .. job, call.iso
  if s == 'running' then
    if was_queued then
      redis.call('HSET', key, 'status', 'started', 'enqueued_at', now, 'started_at', now, 'ended_at', '', 'worker_name', task.w)
    else
      redis.call('HSET', key, 'status', 'started', 'started_at', now, 'worker_name', task.w)
    end
  elseif s == 'queued' then
    redis.call('HSET', key, 'status', 'queued', 'enqueued_at', now, 'started_at', '', 'ended_at', '', 'worker_name', '')
  elseif s == 'pending' or s == 'parked' then
    redis.call('HSET', key, 'status', 'deferred', 'worker_name', '')
  elseif s == 'up_for_retry' or s == 'up_for_reschedule' then
    redis.call('HSET', key, 'status', 'scheduled', 'ended_at', now, 'worker_name', '')
  elseif s == 'removed' then
    redis.call('DEL', key)
  else
    redis.call('HSET', key, 'status', RQ_STATUS[s], 'ended_at', now)
  end
end

-- Write the jobs and lists whose states have changed.
local function write_projection()
  if next(call.jobs) then call.iso = iso(call.now) end
  for job, shown in pairs(call.jobs) do write_job(job, shown.task, shown.queued) end
  for queue, list in pairs(call.listed) do
    local jobs = {}
    for _, job in ipairs(list.jobs) do
      if job then jobs[#jobs + 1] = job end
    end
    if jobs[1] then in_parts('RPUSH', K.RQ_QUEUE .. queue, jobs) end
  end
end

-- From now on a task follows a version (`sha`) and has this row (JSON) of it. What it depends on, and what on it, stays as its run has it.
-- Returns the row.
local function follow_version(task, row, sha, text)
  local run, index = task.run, task.index
  unproject(task, row)
  run.rows = run.rows or {}
  if sha == run.version then
    task.vs, run.rows[index] = nil, false
    redis.call('HDEL', K.RUN .. run.key .. ':r', whole(index))
  else
    task.vs, run.rows[index] = sha, row_of(text)
    redis.call('HSET', K.RUN .. run.key .. ':r', whole(index), text)
    redis.call('HSET', K.RUN .. run.key, 'rows', 1)
  end
  row = get_row(run, index)
  redis.call('HSET', K.RQ_JOB .. task.j, 'origin', row.q)
  project(task, row)
  touch(task)
  return row
end

-- ---------------------------------------------------------------- change of state

-- Whether no task of its run comes after this one: how it ends is how the run does.
local function is_leaf(task, row)
  return row.nd == 0 or task.lf
end

-- Keep the run's counters right: tasks left, tasks by state, leaves that failed or were cancelled.
local function count_change(task, row, old, new)
  local run = task.run
  run.n[old] = (run.n[old] or 0) - 1
  if run.n[old] <= 0 then run.n[old] = nil end
  run.n[new] = (run.n[new] or 0) + 1
  if TERMINAL[old] ~= TERMINAL[new] then run.left = run.left + (TERMINAL[new] and -1 or 1) end
  if is_leaf(task, row) then
    local function sign(state, by)
      if state == 'failed' or state == 'upstream_failed' or state == 'lost' then run.leaf_failed = run.leaf_failed + by end
      if state == 'cancelled' then run.leaf_cancelled = run.leaf_cancelled + by end
    end
    sign(old, -1)
    sign(new, 1)
  end
  run.dirty = true
end

-- The only place where a task instance changes its state. `silent` leaves the event to the caller.
local function set_state(task, new, silent)
  local old, row = task.s, get_row(task.run, task.index)
  if not may(old, new) then
    error('rqflow: ' .. task.ref .. ' cannot go from ' .. old .. ' to ' .. new)
  end
  unproject(task, row)
  if new == 'queued' or new == 'parked' or new == 'pending' then
    remember_machine(task, row)
    task.w, task.e, task.b, task.d, task.y = nil, nil, nil, nil, nil
  end
  task.s = new
  project(task, row)
  count_change(task, row, old, new)
  if TERMINAL[new] or TERMINAL[old] then call.over[#call.over + 1] = task end
  touch(task)
  if not silent then task_event(task) end
end
