-- What happened, for the history: each event is JSON text, put together here because most of it is the same for all events of a run or task.
--
-- Fields of an event: kind (run, ti, note, xcom, late), run, dag, run_id, task, index, try, state, seq, at (absent: seq is the time), reason, queue, pool, worker,
-- execution, started_at, ended_at, max_tries, machine, facts, key, value. What is empty is left out.
-- A task instance that is queued and claimed in the same step has only the event of its claim: nobody saw it queued.

-- A text as JSON; those of a call repeat.
local function quoted(text)
  local json = call.quoted[text]
  if not json then
    json = cjson.encode(text)
    call.quoted[text] = json
  end
  return json
end

local function field(name, text)
  if text == nil or text == '' then return '' end
  return ',"' .. name .. '":' .. quoted(text)
end

local function run_fields(run)
  if not run.words then
    run.words = ',"run":' .. quoted(run.key) .. ',"dag":' .. quoted(run.dag) .. ',"run_id":' .. quoted(run.run_id)
  end
  return run.words
end

-- A time or number of digits only, which needs no quoting.
local function plain(name, text)
  return text and ',"' .. name .. '":"' .. text .. '"' or ''
end

local function order(seq)
  return ',"seq":"' .. seq .. (seq == call.at and '"' or '","at":"' .. call.at .. '"')
end

local function add_event(text)
  local number = #call.events + 1
  call.events[number] = text
  return number
end

local function run_event(run)
  run.seq = math.max(run.seq + 1, call.now)
  add_event('{"kind":"run"' .. run_fields(run) .. ',"state":"' .. run.state .. '"' .. order(digits(run.seq)) .. plain('started_at', run.started)
    .. plain('ended_at', run.ended) .. '}')
  run.dirty = true
end

-- The next place in the order of what happens to a task instance: the time, but never the same or an earlier one again.
local function next_seq(task)
  local next = tonumber(task.v or '0') + 1
  task.v = next > call.now and digits(next) or call.at
  return task.v
end

-- When the current try began, where it went on in several executions, else nil.
local function first_began(task)
  return task.f and task.f[1] == task.t and task.f[2] or nil
end

-- Say what a task instance is, at the place in the order that it has. `extra` of the end of a try has started_at, facts (JSON text), machine.
-- Returns the number of the event in this call.
local function say_task(task, extra)
  local row = get_row(task.run, task.index)
  local told = ''
  if extra then told = field('machine', extra.machine) .. (extra.facts and ',"facts":' .. extra.facts or '') end
  return add_event('{"kind":"ti"' .. run_fields(task.run) .. ',"task":' .. quoted(row.id) .. ',"index":' .. whole(task.index) .. ',"try":' .. whole(task.t)
    .. ',"state":"' .. task.s .. '"' .. order(task.v) .. ',"queue":' .. quoted(row.q) .. ',"pool":' .. quoted(task.run.pool or row.p or K.DEFAULT_POOL)
    .. ',"max_tries":' .. whole(task.m) .. field('reason', task.z) .. field('worker', task.w) .. field('execution', task.e)
    .. plain('started_at', first_began(task) or extra and extra.started_at or task.b) .. plain('ended_at', task.d)
    .. field('version', task.vs) .. told .. '}')
end

-- Say what became of a task instance.
local function task_event(task, extra)
  next_seq(task)
  local number = say_task(task, extra)
  call.queued_event[task.ref] = task.s == 'queued' and number or nil
  touch(task)
end

-- The task that this call has queued is claimed in it as well: only that is told.
local function untell_queued(task)
  local number = call.queued_event[task.ref]
  if number then call.events[number] = false end
end

-- Say something of a task instance that changes no state.
local function note_event(task, what, words)
  local row = get_row(task.run, task.index)
  add_event('{"kind":"note"' .. run_fields(task.run) .. ',"task":' .. quoted(row.id) .. ',"index":' .. whole(task.index) .. ',"try":' .. whole(task.t)
    .. ',"state":"' .. what .. '"' .. order(next_seq(task)) .. field('reason', words) .. field('worker', task.w) .. field('execution', task.e) .. '}')
  touch(task)
end

-- Say that an XCom has this value now; cjson.null: that it is gone.
local function xcom_event(task, row, key, value, seq)
  add_event('{"kind":"xcom"' .. run_fields(task.run) .. ',"task":' .. quoted(row.id) .. ',"key":' .. quoted(key) .. ',"value":' .. cjson.encode(value)
    .. order(seq) .. '}')
end
