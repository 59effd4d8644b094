-- What every step shares: the clock, runs, rows of versions, task instances, and writes that are gathered.
--
-- This file and the other `_*.lua` files are put in front of each step, in the order of sources.py; keys.py adds the function `may` and the
-- tables TERMINAL and RQ_STATUS, and puts the text of the key in the place of `K` and its name. In a library of Redis 7 all this is run once, and
-- of each call only `begin_call` and the step itself.
-- A step reads what it needs into the caches of `call`, changes it there, and `finish_call` (_write.lua) writes it back: nothing is written
-- by halves, because Redis runs the whole script alone.
-- A command costs as much as a screen of Lua. So what nothing later in the step reads from Redis is only noted (`put`), and written by one
-- command a key; and what a task passes through within one step, where nobody can see it, is not written at all.
--
-- Run hash fields: info dag run_id version total preparing state left n (JSON: tasks by state) leaf_failed leaf_cancelled cancel expired created
--   started ended priority seq last_event past (key and id of the run before it, where its tasks depend on that: see _past.lua)
--   rows (1: tasks of it follow another version than it does, and have rows of their own in the hash ":r"; the set ":vs" has these versions)
--   pool (of all its tasks) apart (its backfill says how many runs run at a time).
-- Task instance (JSON): s state, t try, m last try allowed, j job id, c upstream by outcome {s f u k x r} until it ends,
--   q member of the ready set, z reason, g limit it is parked under, h holds its slots, w worker, e execution, a queued, b started, d ended, n due, v last event
--   number, y cancel requested, mk state it gets when it ends (pending: it runs again), k indices it skipped, o index that skipped it,
--   dv derived (not run), xk XCom keys, vs version that it follows, unless that is the run's,
--   gr grace in µs of the try that runs (absent: never), u unreachable since, f [try, when it began for the first time, how often it gave its
--   slot back to look again later] of a try that has gone on in several executions: of no meaning for any other try, lf its downstream tasks are not
--   in this run, lw machine of the try before and lo it waits in the set of those that ask for labels (_others.lua).
-- All times are microseconds since the epoch as decimal strings, all numbers that reach 2^53 are strings.

-- Microseconds (of this century) as a text. '%d' of two parts takes half of what '%.0f' takes, and fits a machine of 32 bits.
local function digits(micros)
  return string.format('%d%06d', micros / 1000000, micros % 1000000)
end

-- Microseconds as seconds, for a score.
local function spelled_seconds(micros)
  return string.format('%d.%06d', micros / 1000000, micros % 1000000)
end

local call
-- What a library knows from one call to the next because it never changes: the run id of the server, and what was read of versions, as long as
-- these are not too many rows and lists.
local known = {versions = {}, entries = 0}
local MOST_KNOWN = 2000

local function begin_call()
  local moment = redis.call('TIME')
  call = {
    now = moment[1] * 1000000 + moment[2], runs = {}, dirty = {}, limits = {}, events = {}, work = {}, evaluate = {},
    pools = {}, used = {}, best_parked = {}, freed = {}, heads = {}, fresh = {}, touched = {}, unfinished = {}, puts = {}, kinds = {},
    jobs = {}, listed = {}, farthest = {}, queued_event = {}, over = {}, closed = {}, quoted = {}, whole = {}, budget = 400, hand_overs = 500, wake = false,
  }
  -- The time of this call in µs and in whole seconds, as texts: each number that becomes a text costs as much as a command.
  call.at, call.seconds = moment[1] .. string.rep('0', 6 - #moment[2]) .. moment[2], moment[1]
  if known.entries > MOST_KNOWN then known.versions, known.entries = {}, 0 end
end

-- A whole number as a text, made once a call.
local function whole(number)
  local text = call.whole[number]
  if not text then
    text = string.format('%d', number)
    call.whole[number] = text
  end
  return text
end

-- Split 'a:b' at the last colon.
local function split(ref)
  local run, index = string.match(ref, '^(.*):(%d+)$')
  return run, tonumber(index)
end

-- ---------------------------------------------------------------- reading

-- What was read of a version: rows by index, lists of neighbours by index, and what it `says` of the whole. None of it is ever changed.
local function version_of(sha)
  local version = known.versions[sha]
  if not version then
    version = {rows = {}, u = {}, d = {}}
    known.versions[sha], known.entries = version, known.entries + 1
  end
  return version
end

-- What a version says of the whole DAG: max_active_tasks, max_active_runs, dagrun_timeout (µs), each absent where there is no such limit.
local function dag_says(run)
  local version = run.version_of
  if not version.says then version.says = cjson.decode(version.dag or redis.call('HGET', K.VERSION .. run.version, 'dag')) end
  return version.says
end

local RUN_FIELDS = {'dag', 'run_id', 'version', 'state', 'left', 'n', 'leaf_failed', 'leaf_cancelled', 'cancel', 'priority', 'started', 'total', 'seq', 'past',
  'expired', 'rows', 'pool', 'apart'}

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
      started = v[11], total = tonumber(v[12]), seq = tonumber(v[13] or '0'), past = v[14], expired = v[15] and true or false,
      rows = v[16] and {} or nil, pool = v[17] or nil, apart = v[18] and true or false, tasks = {}, version_of = version_of(v[3]), was = v}
    call.runs[key] = run
  end
  return run or nil
end

-- The row of a task from its text. A version leaves out what is as most tasks have it: a row is read often, and there is one a task.
local function row_of(text)
  local row = cjson.decode(text)
  row.r, row.q, row.w = row.r or 'all_success', row.q or 'default', row.w or 1
  return row
end

-- The row of a task that follows another version than its run, else false.
local function own_row(run, index)
  local row = run.rows[index]
  if row == nil then
    local text = redis.call('HGET', K.RUN .. run.key .. ':r', whole(index))
    row = text and row_of(text) or false
    run.rows[index] = row
  end
  return row
end

-- The row of a task: id, r rule, q queue, w weight, p pool unless it is the default, ps slots unless 1, ta limit over runs, l labels, nu upstream,
-- nd downstream, dp depends on its past (1; 2: and on the tasks below it there), e empty, gr grace in µs (0: never) unless the worker's counts, ol on_lost unless retry,
-- ow its next try runs on another worker (_others.lua).
local function get_row(run, index)
  local own = run.rows and own_row(run, index)
  if own then return own end
  local row = run.version_of.rows[index]
  if not row then
    row = row_of(redis.call('HGET', K.VERSION .. run.version, whole(index)))
    run.version_of.rows[index], known.entries = row, known.entries + 1
  end
  return row
end

-- The list of upstream ('u') or downstream ('d') indices of a task.
local function edges(run, kind, index)
  local list = run.version_of[kind][index]
  if not list then
    local text = redis.call('HGET', K.VERSION .. run.version, kind .. whole(index))
    -- What is not there is not remembered: it may be a version that was not restored yet.
    if not text then return {} end
    list = cjson.decode(text)
    run.version_of[kind][index], known.entries = list, known.entries + 1
  end
  return list
end

local function keep_task(run, index, text)
  local task = text and cjson.decode(text) or false
  if task then
    task.run, task.index, task.ref = run, index, run.key .. ':' .. whole(index)
    task.c = task.c or {}
  end
  run.tasks[index] = task
  return task
end

local function get_task(run, index)
  local task = run.tasks[index]
  if task == nil then task = keep_task(run, index, redis.call('HGET', K.RUN .. run.key .. ':t', whole(index))) end
  return task or nil
end

local function get_ref(ref)
  local key, index = split(ref)
  local run = get_run(key)
  return run and get_task(run, index)
end

-- Read the task instances indices[first..last] of a run and their rows, and their downstream lists when asked, in two commands; it
-- saves commands only, whatever was not fetched is read one by one.
local function fetch(run, indices, first, last, with_downstream)
  local tasks, texts, rows, lists, fields, version = {}, {}, {}, {}, {}, run.version_of
  for at = first, last do
    local index = indices[at]
    if run.tasks[index] == nil then tasks[#tasks + 1], texts[#texts + 1] = index, whole(index) end
    if not version.rows[index] then rows[#rows + 1], fields[#fields + 1] = index, whole(index) end
  end
  for at = first, with_downstream and last or first - 1 do
    local index = indices[at]
    if not version.d[index] then lists[#lists + 1], fields[#fields + 1] = index, 'd' .. whole(index) end
  end
  if tasks[1] then
    texts = redis.call('HMGET', K.RUN .. run.key .. ':t', unpack(texts))
    for at, index in ipairs(tasks) do keep_task(run, index, texts[at]) end
  end
  if fields[1] then
    if not version.says then fields[#fields + 1] = 'dag' end
    texts = redis.call('HMGET', K.VERSION .. run.version, unpack(fields))
    for at, index in ipairs(rows) do version.rows[index] = texts[at] and row_of(texts[at]) or nil end
    for at, index in ipairs(lists) do
      local text = texts[#rows + at]
      version.d[index] = text and cjson.decode(text) or nil
    end
    if not version.says then version.dag = texts[#fields] end
    known.entries = known.entries + #rows + #lists
  end
end

-- ---------------------------------------------------------------- writing later

local function touch(task)
  call.dirty[task.ref] = task
end

-- Kinds of keys that `put` writes: command that adds, command that takes away, whether it is member and value (a sorted set: value first).
local ZSET, HASH, SET = {'ZADD', 'ZREM'}, {'HSET', 'HDEL'}, {'SADD', 'SREM'}

-- At the end of the step the member of this key has this value (true in a plain set), or is gone (false). The last word counts.
-- Nothing later in the step may read the key from Redis before write_key.
local function put(kind, key, member, value)
  local members = call.puts[key]
  if not members then
    members = {}
    call.puts[key], call.kinds[key] = members, kind
  end
  members[member] = value
end

-- Call a command of Redis with a key and however many arguments there are, some at a time (an even number).
local function in_parts(command, key, list)
  for at = 1, #list, 2000 do
    redis.call(command, key, unpack(list, at, math.min(at + 1999, #list)))
  end
end

-- Write what was put for a key.
local function write_key(key)
  local members, kind = call.puts[key], call.kinds[key]
  if not members then return end
  call.puts[key] = nil
  local added, gone = {}, {}
  for member, value in pairs(members) do
    if value == false then
      gone[#gone + 1] = member
    elseif kind == ZSET then
      added[#added + 1], added[#added + 2] = value, member
    elseif kind == HASH then
      added[#added + 1], added[#added + 2] = member, value
    else
      added[#added + 1] = member
    end
  end
  if gone[1] then in_parts(kind[2], key, gone) end
  if added[1] then in_parts(kind[1], key, added) end
end

-- ---------------------------------------------------------------- repeating a request

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
