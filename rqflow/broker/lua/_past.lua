-- Gates by the run before: depends_on_past (dp 1) waits for the same task there, wait_for_downstream (dp 2) also for the tasks directly below it.
--
-- Which run that is, is settled when a run is made: its hash has `past` ("key id"), its hash ":p" for each task that waits so the indices of the
-- tasks there (i -> "0,3"), and for each of these that had not ended well, how it stood in the history then ("s3" -> "state task_id"). While
-- Redis has the run before, only that counts. A task that waits is parked under "past:run:index" of the first that holds it; K.FOLLOWS knows which
-- runs to look at when a task of a run has ended.

-- In _release.lua: offers a task that nothing holds.
local release

-- States of a task in the run before that let the task of this run go on.
local IS_FINE = {success = true, skipped = true, removed = true}

-- Whether there is a run before that may hold tasks of this one: its key and its run id, or nil.
local function run_before(run)
  if not run.past then return nil end
  return string.match(run.past, '^(%S+) (.*)$')
end

-- The keys of the runs of which this one is the run before.
local function followers(run)
  local list = {}
  for key in string.gmatch(redis.call('HGET', K.FOLLOWS, run.key) or '', '%S+') do list[#list + 1] = key end
  return list
end

-- Note that a run has one before it, so that this tells it of ends.
local function follow_past(run)
  local key = run_before(run)
  if not key then return end
  redis.call('PERSIST', K.RUN .. run.key .. ':p')
  local known_ones = redis.call('HGET', K.FOLLOWS, key) or ''
  if not string.find(' ' .. known_ones .. ' ', ' ' .. run.key .. ' ', 1, true) then redis.call('HSET', K.FOLLOWS, key, known_ones .. ' ' .. run.key) end
end

-- A run is forgotten: the one before it has nothing to tell it any more.
local function forget_past(run_key, past)
  local key = string.match(past, '^%S+')
  local others = {}
  for other in string.gmatch(redis.call('HGET', K.FOLLOWS, key) or '', '%S+') do
    if other ~= run_key then others[#others + 1] = other end
  end
  if others[1] then redis.call('HSET', K.FOLLOWS, key, table.concat(others, ' ')) else redis.call('HDEL', K.FOLLOWS, key) end
end

-- How a task of the run before stands: its state and its id.
local function state_before(run, key, index)
  local before = get_run(key)
  local task = before and get_task(before, index)
  if task then return task.s, get_row(before, index).id end
  local state, id = string.match(redis.call('HGET', K.RUN .. run.key .. ':p', 's' .. whole(index)) or 'success ', '^(%S+) (.*)$')
  return state, id
end

-- What of the run before holds this task back: index there and words, or nil.
local function held_by_past(task, row)
  local key, run_id = run_before(task.run)
  if not row.dp or not key then return nil end
  for index in string.gmatch(redis.call('HGET', K.RUN .. task.run.key .. ':p', whole(task.index)) or '', '%d+') do
    local state, id = state_before(task.run, key, tonumber(index))
    if not IS_FINE[state] then
      return index, (id == row.id and 'depends_on_past' or 'wait_for_downstream') .. ': ' .. id .. ' of the run before, ' .. run_id .. ', '
        .. (TERMINAL[state] and 'is ' .. state or 'has not ended')
    end
  end
end

-- Park a task until one of the run before ends.
local function park_for_past(task, row, index, words)
  if not task.q then give_number(task) end
  task.g = 'past:' .. run_before(task.run) .. ':' .. index
  redis.call('ZADD', K.PARKED .. task.g, '0', task.q)
  task.z = words
  if task.s ~= 'parked' then set_state(task, 'parked') else task_event(task) end
end

-- Its trigger rule is met: offer the task to the workers, unless the run before holds it. An empty task passes here.
local function pass(task)
  local row = get_row(task.run, task.index)
  local index, words = held_by_past(task, row)
  if index then return park_for_past(task, row, index, words) end
  release(task)
end

-- Look anew at a task that waits for the run before.
local function pass_again(task)
  unpark(task.g, task.q)
  task.g = nil
  pass(task)
end

-- Tasks have ended, or run again: look anew at those that waited for them in the runs after theirs.
local function tell_followers()
  while call.over[1] do
    local over, is_followed = call.over, {}
    call.over = {}
    for _, task in ipairs(over) do
      local run = task.run
      if is_followed[run] == nil then is_followed[run] = redis.call('HEXISTS', K.FOLLOWS, run.key) == 1 end
      local name = is_followed[run] and 'past:' .. task.ref
      for _, member in ipairs(name and redis.call('ZRANGE', K.PARKED .. name, '0', '-1') or {}) do
        local waiting = get_ref(string.sub(member, 15))
        if waiting and waiting.g == name then pass_again(waiting) else unpark(name, member) end
      end
    end
  end
end
