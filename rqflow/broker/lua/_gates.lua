-- From "its trigger rule is met" to "a worker has it": the ready sets, the gates that may hold a task, parking, and handing over.
--
-- A limit is a pool, a DAG's max_active_tasks, or a task's max_active_tis_per_dag. Whoever holds slots has `h`; K.USED counts them.
-- Invariant: USED of a limit = the sum over task instances with `h` (running, or queued because a freed slot was handed to them).
-- Nobody barges: while a task is parked under a limit, only one that ranks before it may take a slot of that limit.

-- The pool of a task as a limit, for one that takes one slot of it.
local function pool_of(run, row)
  local own = run.pool or row.p
  local name = own or K.DEFAULT_POOL
  local pool = call.pools[name]
  if not pool then
    local capacity = redis.call('HGET', K.POOLS, name)
    -- Slots of the default pool are counted also while it limits nothing, for the moment when somebody gives it slots.
    local unknown = own and 0 or math.huge
    pool = {name = 'pool:' .. name, capacity = tonumber(capacity) or unknown, slots = 1,
      words = capacity and ('pool ' .. name .. ' is full') or ('pool ' .. name .. ' does not exist')}
    call.pools[name] = pool
  end
  return pool
end

-- The limits that a task falls under, in the fixed order of the gates: {name, capacity, slots, words}.
local function limits_of(task, row)
  local known_as = task.run.pool or ''
  local by_row = call.limits[known_as] or {}
  call.limits[known_as] = by_row
  if by_row[row] then return by_row[row] end
  local pool, slots, most = pool_of(task.run, row), row.ps or 1, dag_says(task.run).max_active_tasks
  local list = {slots == 1 and pool or {name = pool.name, capacity = pool.capacity, slots = slots, words = pool.words}}
  if most then
    list[#list + 1] = {name = 'dag:' .. task.run.dag, capacity = most, slots = 1,
      words = 'max_active_tasks of ' .. task.run.dag .. ' reached'}
  end
  if row.ta then
    list[#list + 1] = {name = 'task:' .. task.run.dag .. '.' .. row.id, capacity = row.ta, slots = 1,
      words = 'max_active_tis_per_dag of ' .. row.id .. ' reached'}
  end
  by_row[row] = list
  return list
end

-- The slots in use of a limit: {now, was (in Redis)}.
local function used(name)
  local use = call.used[name]
  if not use then
    local slots = tonumber(redis.call('HGET', K.USED, name) or '0')
    use = {now = slots, was = slots}
    call.used[name] = use
  end
  return use
end

local function add_used(name, slots)
  local use = used(name)
  use.now = use.now + slots
end

-- Write what is in use; slots that this step freed and took again changed nothing.
local function write_used()
  for name, use in pairs(call.used) do
    if use.now ~= use.was then put(HASH, K.USED, name, use.now ~= 0 and use.now) end
  end
end

local function score_of(task, row)
  return -(row.w + task.run.priority)
end

-- The best that is parked under this limit: {member, score}, empty when there is none.
local function best_parked(name)
  local best = call.best_parked[name]
  if not best then
    best = redis.call('ZRANGE', K.PARKED .. name, '0', '0', 'WITHSCORES')
    call.best_parked[name] = best
  end
  return best
end

-- Whether this is no limit, but a task of the run before that is waited for (_past.lua).
local function is_past(name)
  return string.sub(name, 1, 5) == 'past:'
end

local function unpark(name, member)
  redis.call('ZREM', K.PARKED .. name, member)
  call.best_parked[name] = nil
end

-- Whether (score, member) ranks before the best that is parked under this limit.
local function ranks_first(name, score, member)
  local best = best_parked(name)
  if not best[1] then return true end
  local other = tonumber(best[2])
  return score < other or score == other and member <= best[1]
end

-- The first limit that holds this task back now, or nil. Repeats with the same state.
local function blocking_limit(task, row)
  for _, limit in ipairs(limits_of(task, row)) do
    if used(limit.name).now + limit.slots > limit.capacity or not ranks_first(limit.name, score_of(task, row), task.q) then return limit end
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

-- Take a task off the set where workers look for it. One that got there in this step need not be taken off Redis' set.
local function unoffer(task, row)
  local key = ((row.l or task.lo) and K.LABELLED or K.READY) .. row.q
  local puts = call.puts[key]
  if call.fresh[task.q] and puts and puts[task.q] then
    puts[task.q] = nil
  else
    put(ZSET, key, task.q, false)
  end
end

-- Take a queued or parked task out of the sets in which it waits for a slot or a worker. Does not change its state.
local function leave_waiting(task, row)
  if task.s ~= 'queued' and task.s ~= 'parked' then return end
  if task.q then unoffer(task, row) end
  if task.g then
    unpark(task.g, task.q)
    -- Who waited behind it may fit now.
    if not is_past(task.g) then call.freed[task.g] = true end
    task.g = nil
  end
  free_slots(task, row)
  touch(task)
end

local function park(task, row, limit)
  unoffer(task, row)
  redis.call('ZADD', K.PARKED .. limit.name, score_of(task, row), task.q)
  call.best_parked[limit.name] = nil
  task.g, task.z = limit.name, limit.words
  if task.s ~= 'parked' then set_state(task, 'parked') else touch(task) end
end

-- Give a task its place in the order in which tasks became ready, which also names it where it waits.
local function give_number(task)
  task.q = string.format('%013d:%s', redis.call('INCR', K.SEQUENCE), task.ref)
end

-- Put a task where workers look for work: the ready set and the list of its queue, or the set of those that ask for labels, or for another worker.
local function offer(task, row)
  if not task.q then
    give_number(task)
    call.fresh[task.q] = true
  end
  remember_machine(task, row)
  task.g, task.n = nil, nil
  task.a = call.at
  task.lo = wants_another(task, row) and 1 or nil
  if row.l or task.lo then
    put(ZSET, K.LABELLED .. row.q, task.q, score_of(task, row))
    task.z = task.lo and 'retry_on_other_worker: waits for another worker than that on ' .. task.lw
      or 'waits for a worker with labels ' .. table.concat(row.l, ', ')
    if task.s ~= 'parked' then set_state(task, 'parked') else touch(task) end
    call.touched[row.q] = 'labelled'
  else
    put(ZSET, K.READY .. row.q, task.q, score_of(task, row))
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
    local head = best_parked(name)[1]
    if not head then return true end
    local task = get_ref(string.sub(head, 15))
    if not task or task.g ~= name then
      unpark(name, head)
    else
      local row = get_row(task.run, task.index)
      local limit = blocking_limit(task, row)
      if limit and limit.name == name then return true end
      unpark(name, head)
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
  local waiting = {}
  for _, name in ipairs(redis.call('SMEMBERS', K.FREED)) do waiting[name], call.freed[name] = true, true end
  for name in pairs(call.freed) do
    local done = hand_over(name)
    if done and waiting[name] then redis.call('SREM', K.FREED, name) end
    if not done and not waiting[name] then redis.call('SADD', K.FREED, name) end
  end
  call.freed = {}
end
