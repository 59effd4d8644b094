-- From "its trigger rule is met" to "a worker has it": the ready sets, the gates that may hold a task, parking, and handing over.
--
-- A limit is a pool, a DAG's max_active_tasks, or a task's max_active_tis_per_dag. Whoever holds slots has `h`; K.USED counts them.
-- Invariant: USED of a limit = the sum over task instances with `h` (running, or queued because a freed slot was handed to them).
-- Nobody barges: while a task is parked under a limit, only one that ranks before it may take a slot of that limit.

-- The limits that a task falls under, in the fixed order of the gates: {name, capacity, slots, words}.
local function limits_of(task, row)
  local version, pool = get_version(task.run.version), row.p or K.DEFAULT_POOL
  local capacity = redis.call('HGET', K.POOLS, pool)
  -- Slots of the default pool are counted also while it limits nothing, for the moment when somebody gives it slots.
  local unknown = row.p and 0 or math.huge
  local list = {{name = 'pool:' .. pool, capacity = tonumber(capacity) or unknown, slots = row.ps or 1,
    words = capacity and ('pool ' .. pool .. ' is full') or ('pool ' .. pool .. ' does not exist')}}
  if version.max_active_tasks then
    list[#list + 1] = {name = 'dag:' .. task.run.dag, capacity = version.max_active_tasks, slots = 1,
      words = 'max_active_tasks of ' .. task.run.dag .. ' reached'}
  end
  if row.ta then
    list[#list + 1] = {name = 'task:' .. task.run.dag .. '.' .. row.id, capacity = row.ta, slots = 1,
      words = 'max_active_tis_per_dag of ' .. row.id .. ' reached'}
  end
  return list
end

local function used(name)
  if not call.used[name] then call.used[name] = tonumber(redis.call('HGET', K.USED, name) or '0') end
  return call.used[name]
end

local function add_used(name, slots)
  local now = used(name) + slots
  call.used[name] = now
  if now == 0 then redis.call('HDEL', K.USED, name) else redis.call('HSET', K.USED, name, now) end
end

local function score_of(task, row)
  return -(row.w + task.run.priority)
end

-- Whether (score, member) ranks before the best that is parked under this limit.
local function ranks_first(name, score, member)
  local best = redis.call('ZRANGE', K.PARKED .. name, 0, 0, 'WITHSCORES')
  if not best[1] then return true end
  local other = tonumber(best[2])
  return score < other or score == other and member <= best[1]
end

-- The first limit that holds this task back now, or nil. Repeats with the same state.
local function blocking_limit(task, row)
  for _, limit in ipairs(limits_of(task, row)) do
    if used(limit.name) + limit.slots > limit.capacity or not ranks_first(limit.name, score_of(task, row), task.q) then return limit end
  end
end

local function hold_slots(task, row)
  for _, limit in ipairs(limits_of(task, row)) do add_used(limit.name, limit.slots) end
  task.h = true
  touch(task)
end

-- Give the slots back; finish_releases hands them over at the end of the step.
local function free_slots(task, row)
  if not task.h then return end
  for _, limit in ipairs(limits_of(task, row)) do
    add_used(limit.name, -limit.slots)
    call.freed[limit.name] = true
  end
  task.h = nil
  touch(task)
end

-- Take a queued or parked task out of the sets in which it waits for a slot or a worker. Does not change its state.
local function leave_waiting(task, row)
  if task.s ~= 'queued' and task.s ~= 'parked' then return end
  if task.q then
    redis.call('ZREM', K.READY .. row.q, task.q)
    redis.call('ZREM', K.LABELLED .. row.q, task.q)
  end
  if task.g then
    redis.call('ZREM', K.PARKED .. task.g, task.q)
    -- Who waited behind it may fit now.
    call.freed[task.g] = true
    task.g = nil
  end
  free_slots(task, row)
  touch(task)
end

local function park(task, row, limit)
  redis.call('ZREM', K.READY .. row.q, task.q)
  redis.call('ZREM', K.LABELLED .. row.q, task.q)
  redis.call('ZADD', K.PARKED .. limit.name, score_of(task, row), task.q)
  task.g, task.z = limit.name, limit.words
  if task.s ~= 'parked' then set_state(task, 'parked') else touch(task) end
end

-- Put a task where workers look for work: the ready set and the list of its queue, or the set of those that ask for labels.
local function offer(task, row)
  if not task.q then task.q = string.format('%013d:%s', redis.call('INCR', K.SEQUENCE), task.ref) end
  task.g, task.n = nil, nil
  task.a = digits(call.now)
  if row.l then
    redis.call('ZADD', K.LABELLED .. row.q, score_of(task, row), task.q)
    task.z = 'waits for a worker with labels ' .. table.concat(row.l, ', ')
    if task.s ~= 'parked' then set_state(task, 'parked') else touch(task) end
    call.touched[row.q] = 'labelled'
  else
    redis.call('ZADD', K.READY .. row.q, score_of(task, row), task.q)
    task.z = nil
    set_state(task, 'queued')
    call.touched[row.q] = call.touched[row.q] or 'ready'
  end
end

-- Hand a limit's free slots to the tasks parked under it, best first, until the best does not fit. Returns whether that was reached
-- within what one call may look at.
local function hand_over(name)
  while call.hand_overs > 0 do
    call.hand_overs = call.hand_overs - 1
    local head = redis.call('ZRANGE', K.PARKED .. name, 0, 0)[1]
    if not head then return true end
    local task = get_ref(string.sub(head, 15))
    if not task or task.g ~= name then
      redis.call('ZREM', K.PARKED .. name, head)
    else
      local row = get_row(task.run, task.index)
      local limit = blocking_limit(task, row)
      if limit and limit.name == name then return true end
      redis.call('ZREM', K.PARKED .. name, head)
      if limit then
        park(task, row, limit)
      else
        hold_slots(task, row)
        offer(task, row)
      end
    end
  end
  return false
end

-- Hand over what this call freed and what earlier calls could not finish.
local function hand_over_all()
  for _, name in ipairs(redis.call('SMEMBERS', K.FREED)) do call.freed[name] = true end
  for name in pairs(call.freed) do redis.call(hand_over(name) and 'SREM' or 'SADD', K.FREED, name) end
  call.freed = {}
end
