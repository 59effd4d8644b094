-- What every step shares: the clock, runs, rows of versions, task instances, events, and the projection into RQ.
--
-- This file and the other `_*.lua` files are put in front of each step; keys.py adds the tables K, MAY, TERMINAL and RQ_STATUS.
-- A step reads what it needs into the caches of `call`, changes it there, and `finish_call` writes it back: nothing is written by
-- halves, because Redis runs the whole script alone.
--
-- Run hash fields: info dag run_id version total preparing state left n (JSON: tasks by state) leaf_failed leaf_cancelled cancel created
--   started ended priority seq last_event.
-- Task instance (JSON): s state, t try, m last try allowed, j job id, c upstream by outcome {s f u k x r}, q member of the ready set,
--   z reason, g limit it is parked under, h holds its slots, w worker, e execution, a queued, b started, d ended, n due, v last event
--   number, y cancel requested, mk state it gets when it ends, k indices it skipped, o index that skipped it, dv derived (not run), xk XCom keys,
--   gr grace in µs of the try that runs (absent: never), u unreachable since.
-- All times are microseconds since the epoch as decimal strings, all numbers that reach 2^53 are strings.

local function micros()
  local t = redis.call('TIME')
  return tonumber(t[1]) * 1000000 + tonumber(t[2])
end

local function digits(number)
  return string.format('%.0f', number)
end

local call = {
  now = micros(), runs = {}, tasks = {}, dirty = {}, rows = {}, versions = {}, events = {}, work = {}, evaluate = {},
  used = {}, freed = {}, touched = {}, deferred = {}, unfinished = {}, budget = 1200, hand_overs = 500, wake = false,
}

-- Split 'a:b' at the last colon.
local function split(ref)
  local run, index = string.match(ref, '^(.*):(%d+)$')
  return run, tonumber(index)
end

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

-- ---------------------------------------------------------------- reading

local RUN_FIELDS = {'dag', 'run_id', 'version', 'state', 'left', 'n', 'leaf_failed', 'leaf_cancelled', 'cancel', 'priority', 'started', 'total', 'seq'}

-- The run of this key, or nil when Redis has it not.
local function get_run(key)
  local run = call.runs[key]
  if run == nil then
    local v = redis.call('HMGET', K.RUN .. key, unpack(RUN_FIELDS))
    if not v[4] then
      call.runs[key] = false
      return nil
    end
    run = {key = key, dag = v[1], run_id = v[2], version = v[3], state = v[4], left = tonumber(v[5]), n = cjson.decode(v[6]),
      leaf_failed = tonumber(v[7]), leaf_cancelled = tonumber(v[8]), cancel = v[9] and true or false, priority = tonumber(v[10] or '0'),
      started = v[11], total = tonumber(v[12]), seq = tonumber(v[13] or '0')}
    call.runs[key] = run
  end
  return run or nil
end

local function get_version(sha)
  local version = call.versions[sha]
  if not version then
    version = cjson.decode(redis.call('HGET', K.VERSION .. sha, 'dag'))
    call.versions[sha] = version
  end
  return version
end

-- The row of a task: id, r rule, q queue, w weight, p pool unless it is the default, ps slots unless 1, ta limit over runs, l labels, nu upstream,
-- nd downstream, e empty, gr grace in µs (0: never) unless the worker's counts, ol on_lost unless retry.
local function get_row(run, index)
  local name = run.version .. index
  local row = call.rows[name]
  if not row then
    row = cjson.decode(redis.call('HGET', K.VERSION .. run.version, index))
    call.rows[name] = row
  end
  return row
end

-- The list of upstream ('u') or downstream ('d') indices of a task.
local function edges(run, kind, index)
  local text = redis.call('HGET', K.VERSION .. run.version, kind .. index)
  return text and cjson.decode(text) or {}
end

local function get_task(run, index)
  local ref = run.key .. ':' .. index
  local task = call.tasks[ref]
  if task == nil then
    local text = redis.call('HGET', K.RUN .. run.key .. ':t', index)
    task = text and cjson.decode(text) or false
    if task then
      task.run, task.index, task.ref = run, index, ref
      task.c = task.c or {}
    end
    call.tasks[ref] = task
  end
  return task or nil
end

local function get_ref(ref)
  local key, index = split(ref)
  local run = get_run(key)
  return run and get_task(run, index)
end

local function touch(task)
  call.dirty[task.ref] = task
end

-- ---------------------------------------------------------------- events

local function run_event(run)
  run.seq = math.max(run.seq + 1, call.now)
  call.events[#call.events + 1] = {kind = 'run', run = run.key, dag = run.dag, run_id = run.run_id, state = run.state, seq = digits(run.seq),
    at = digits(call.now), started_at = run.started, ended_at = run.ended}
  run.dirty = true
end

-- The next place in the order of what happens to a task instance: the time, but never the same or an earlier one again.
local function next_seq(task)
  task.v = digits(math.max(tonumber(task.v or '0') + 1, call.now))
  return task.v
end

-- Say what became of a task instance; extra fields are laid over it.
local function task_event(task, extra)
  next_seq(task)
  local row = get_row(task.run, task.index)
  local event = {kind = 'ti', run = task.run.key, dag = task.run.dag, run_id = task.run.run_id, task = row.id, index = task.index, ['try'] = task.t,
    state = task.s, seq = task.v, at = digits(call.now), reason = task.z or '', queue = row.q, pool = row.p or K.DEFAULT_POOL, worker = task.w or '',
    execution = task.e or '', started_at = task.b, ended_at = task.d, max_tries = task.m}
  for name, value in pairs(extra or {}) do event[name] = value end
  call.events[#call.events + 1] = event
  touch(task)
end

-- Say something of a task instance that changes no state.
local function note_event(task, what, words)
  local row = get_row(task.run, task.index)
  call.events[#call.events + 1] = {kind = 'note', run = task.run.key, dag = task.run.dag, run_id = task.run.run_id, task = row.id, index = task.index,
    ['try'] = task.t, state = what, seq = next_seq(task), at = digits(call.now), reason = words, worker = task.w or '', execution = task.e or ''}
  touch(task)
end

-- ---------------------------------------------------------------- projection into RQ

-- Take a task instance's job off whatever list or set of RQ shows its old state.
local function unproject(task, row)
  local s = task.s
  if s == 'pending' or s == 'parked' then
    if call.deferred[row.q] then call.deferred[row.q][task.j] = nil end
    redis.call('ZREM', K.RQ_DEFERRED .. row.q, task.j)
  elseif s == 'queued' then
    redis.call('LREM', K.RQ_QUEUE .. row.q, 1, task.j)
  elseif s == 'running' then
    local member = task.j .. ':' .. task.e
    redis.call('ZREM', K.RQ_WIP .. row.q, member)
    redis.call('DEL', K.RQ_EXECUTION .. member, K.RQ_EXECUTIONS .. task.j)
    redis.call('SREM', K.RQ_WORKER .. task.w .. ':executions', member)
  elseif s == 'up_for_retry' or s == 'up_for_reschedule' then
    redis.call('ZREM', K.RQ_SCHEDULED_JOBS, task.j)
    redis.call('HDEL', K.DUE, task.j)
  elseif s == 'success' or s == 'skipped' then
    redis.call('ZREM', K.RQ_FINISHED .. row.q, task.j)
  elseif s == 'failed' or s == 'lost' then
    redis.call('ZREM', K.RQ_FAILED .. row.q, task.j)
  else
    redis.call('ZREM', K.RQ_CANCELED .. row.q, task.j)
  end
end

-- Show a task instance's new state in RQ; the table is in states.py.
local function project(task, row)
  local s, job = task.s, K.RQ_JOB .. task.j
  local now = iso(call.now)
  if s == 'pending' or s == 'parked' then
    local set = call.deferred[row.q] or {}
    set[task.j], call.deferred[row.q] = math.floor(call.now / 1000000), set
    redis.call('HSET', job, 'status', 'deferred', 'worker_name', '')
  elseif s == 'queued' then
    redis.call('RPUSH', K.RQ_QUEUE .. row.q, task.j)
    redis.call('HSET', job, 'status', 'queued', 'enqueued_at', now, 'started_at', '', 'ended_at', '', 'worker_name', '')
  elseif s == 'running' then
    local member, at = task.j .. ':' .. task.e, call.now / 1000000
    redis.call('ZADD', K.RQ_WIP .. row.q, '+inf', member)
    redis.call('HSET', K.RQ_EXECUTION .. member, 'id', task.e, 'job_id', task.j, 'created_at', at, 'last_heartbeat', at, 'worker_name', task.w)
    redis.call('PERSIST', K.RQ_EXECUTION .. member)
    redis.call('ZADD', K.RQ_EXECUTIONS .. task.j, '+inf', task.e)
    redis.call('PERSIST', K.RQ_EXECUTIONS .. task.j)
    redis.call('SADD', K.RQ_WORKER .. task.w .. ':executions', member)
    redis.call('HSET', job, 'status', 'started', 'started_at', now, 'last_heartbeat', now, 'worker_name', task.w)
  elseif s == 'up_for_retry' or s == 'up_for_reschedule' then
    redis.call('ZADD', K.RQ_SCHEDULED_JOBS, string.format('%.6f', tonumber(task.n) / 1000000), task.j)
    redis.call('HSET', K.DUE, task.j, task.ref)
    redis.call('HSET', job, 'status', 'scheduled', 'ended_at', now, 'worker_name', '')
    call.wake = true
  elseif s == 'removed' then
    redis.call('DEL', job)
  else
    local status = RQ_STATUS[s]
    local set = status == 'finished' and K.RQ_FINISHED or status == 'failed' and K.RQ_FAILED or K.RQ_CANCELED
    redis.call('ZADD', set .. row.q, '+inf', task.j)
    redis.call('HSET', job, 'status', status, 'ended_at', now)
  end
end

-- ---------------------------------------------------------------- change of state

-- Keep the run's counters right: tasks left, tasks by state, leaves that failed or were cancelled.
local function count_change(run, row, old, new)
  run.n[old] = (run.n[old] or 0) - 1
  if run.n[old] <= 0 then run.n[old] = nil end
  run.n[new] = (run.n[new] or 0) + 1
  if TERMINAL[old] ~= TERMINAL[new] then run.left = run.left + (TERMINAL[new] and -1 or 1) end
  if row.nd == 0 then
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
  if not MAY[old][new] then
    error('rqflow: ' .. task.ref .. ' cannot go from ' .. old .. ' to ' .. new)
  end
  unproject(task, row)
  task.s = new
  if new == 'queued' or new == 'parked' or new == 'pending' then task.w, task.e, task.b, task.d, task.y = nil, nil, nil, nil, nil end
  project(task, row)
  count_change(task.run, row, old, new)
  touch(task)
  if not silent then task_event(task) end
end

-- ---------------------------------------------------------------- repeating a request, and the end of a call

-- The reply to this caller's request if it was carried out before, else nil. One that comes after its own repetition and newer ones, because
-- a link held it back, is nobody's any more: it must not be carried out a second time.
local function repeated(caller, id)
  local last = redis.call('HMGET', K.REPLY .. caller, 'id', 'reply')
  if not last[1] then return nil end
  if last[1] == id then return last[2] end
  local life, number = string.match(id, '^(.*)-(%d+)$')
  local last_life, last_number = string.match(last[1], '^(.*)-(%d+)$')
  if life and life == last_life and tonumber(number) < tonumber(last_number) then return '{}' end
  return nil
end

local function write_tasks()
  local by_run = {}
  for ref, task in pairs(call.dirty) do
    local run, index = task.run, task.index
    local list = by_run[run.key] or {}
    by_run[run.key] = list
    task.run, task.index, task.ref = nil, nil, nil
    if next(task.c) == nil then task.c = nil end
    list[#list + 1] = index
    list[#list + 1] = cjson.encode(task)
    task.run, task.index, task.ref, task.c = run, index, ref, task.c or {}
  end
  for key, list in pairs(by_run) do
    for at = 1, #list, 2000 do
      redis.call('HSET', K.RUN .. key .. ':t', unpack(list, at, math.min(at + 1999, #list)))
    end
  end
end

local function write_events()
  local last
  for at = 1, #call.events, 100 do
    local chunk = {}
    for i = at, math.min(at + 99, #call.events) do chunk[#chunk + 1] = call.events[i] end
    last = redis.call('XADD', K.EVENTS, '*', 'e', cjson.encode(chunk))
  end
  return last
end

local function write_deferred()
  for queue, set in pairs(call.deferred) do
    local list = {}
    for job, score in pairs(set) do
      list[#list + 1] = score
      list[#list + 1] = job
    end
    for at = 1, #list, 2000 do
      redis.call('ZADD', K.RQ_DEFERRED .. queue, unpack(list, at, math.min(at + 1999, #list)))
    end
  end
end

local function write_runs(last_event)
  for _, run in pairs(call.runs) do
    if run and run.dirty then
      redis.call('HSET', K.RUN .. run.key, 'state', run.state, 'left', run.left, 'n', cjson.encode(run.n), 'leaf_failed', run.leaf_failed,
        'leaf_cancelled', run.leaf_cancelled)
      redis.call('HSET', K.RUN .. run.key, 'seq', digits(run.seq))
      if last_event then redis.call('HSET', K.RUN .. run.key, 'last_event', last_event) end
      if run.started then redis.call('HSET', K.RUN .. run.key, 'started', run.started) end
      if run.ended then redis.call('HSET', K.RUN .. run.key, 'ended', run.ended) end
    end
  end
end

-- Write everything back, ring the bells, keep the reply for a repeated request, and return it as JSON.
local function finish_call(caller, id, reply)
  write_tasks()
  write_deferred()
  write_runs(write_events())
  -- A labelled task rings only when it is new, else workers without the label would wake each other for ever.
  for queue, how in pairs(call.touched) do
    if how == 'labelled' or redis.call('ZCARD', K.READY .. queue) > 0 then
      if redis.call('LLEN', K.BELL .. queue) == 0 then redis.call('LPUSH', K.BELL .. queue, '1') end
    end
  end
  if call.wake and redis.call('LLEN', K.WAKE) == 0 then redis.call('LPUSH', K.WAKE, '1') end
  local text = cjson.encode(reply)
  redis.call('HSET', K.REPLY .. caller, 'id', id, 'reply', text)
  -- Calls are repeated within seconds; turn.lua keeps its own for longer.
  redis.call('EXPIRE', K.REPLY .. caller, 600)
  return text
end
