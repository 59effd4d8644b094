-- What follows when a task instance ends: counts of its downstream, their trigger rules, skips, and the end of the run.
--
-- Work is a queue of items, done first in first out until the call's budget of touched edges is used up; what is left goes to the
-- run's frontier list and is continued by the next call (advance). Items:
--   d:i:p  deliver the outcome of task i to its downstream, from position p      k:i:p  skip what branch i said, from position p
--   e:i    begin the run: release roots, show the others as deferred, from index i    x:i  cancel what does not run, from index i
--   j:i    count all upstream outcomes and judge pending tasks anew, from index i
--   p:i    look anew at what waits for the run before, from index i
--   r:i:p  undo what was only derived (skipped, upstream_failed …) below i, from position p
-- Tasks in the set ":v" are counted and judged anew once the list is empty.

local CLASS = {success = 's', failed = 'f', lost = 'f', upstream_failed = 'u', skipped = 'k', cancelled = 'x', removed = 'r'}

-- The decision of a trigger rule; the same table as dag/trigger_rule.py, tests compare them. Returns nil (wait), 'run', or a state.
local function decide(rule, total, c)
  local s, f, u, k, x = c.s or 0, c.f or 0, c.u or 0, c.k or 0, c.x or 0
  local n, bad = total - (c.r or 0), f + u + x
  local all = s + bad + k >= n
  -- Only cancelled ones so far: another may still fail, and the outcome must not depend on the order.
  local failed = 'upstream_failed'
  if f + u == 0 and x > 0 then failed = all and 'cancelled' or nil end
  if n == 0 or rule == 'always' then return 'run' end
  if rule == 'all_success' then
    if bad > 0 then return failed end
    return all and (k > 0 and 'skipped' or 'run') or nil
  elseif rule == 'all_failed' then
    if s + k > 0 then return 'skipped' end
    return all and 'run' or nil
  elseif rule == 'all_done' or rule == 'all_done_setup_success' then
    return all and 'run' or nil
  elseif rule == 'one_success' then
    if s > 0 then return 'run' end
    return all and (k == n and 'skipped' or failed) or nil
  elseif rule == 'one_failed' then
    if bad > 0 then return 'run' end
    return all and 'skipped' or nil
  elseif rule == 'one_done' then
    if s + f > 0 then return 'run' end
    return all and (bad > 0 and failed or 'skipped') or nil
  elseif rule == 'none_failed' then
    if bad > 0 then return failed end
    return all and 'run' or nil
  elseif rule == 'none_failed_min_one_success' then
    if bad > 0 then return failed end
    return all and (s > 0 and 'run' or 'skipped') or nil
  elseif rule == 'none_skipped' then
    if k > 0 then return 'skipped' end
    return all and 'run' or nil
  elseif rule == 'all_skipped' then
    if s + bad > 0 then return 'skipped' end
    return all and 'run' or nil
  end
  error('rqflow: unknown trigger rule ' .. tostring(rule))
end

-- Queue an item behind all that this run still has to do, what earlier calls left over included. Of that no more is taken up than one call may do:
-- to read all of a long frontier at each call would cost more than to do it.
function push_work(run, item)
  if not run.resumed then
    run.resumed = true
    local frontier, evaluate = K.RUN .. run.key .. ':f', K.RUN .. run.key .. ':v'
    local found = redis.call('EXISTS', frontier, evaluate) > 0
    local texts = found and redis.call('LRANGE', frontier, '0', whole(math.max(math.ceil(call.budget), 1) - 1)) or {}
    for _, text in ipairs(texts) do
      local old = {}
      for part in string.gmatch(text, '[^:]+') do old[#old + 1] = tonumber(part) or part end
      call.work[#call.work + 1] = {run = run, item = old, is_old = true}
    end
    if texts[1] then
      redis.call('LTRIM', frontier, whole(#texts), '-1')
      run.has_rest = redis.call('EXISTS', frontier) == 1
    end
    for _, ref in ipairs(found and redis.call('SMEMBERS', evaluate) or {}) do call.evaluate[ref] = get_ref(ref) end
    if found then redis.call('DEL', evaluate) end
  end
  if item then call.work[#call.work + 1] = {run = run, item = item} end
end

-- No task is left; and nothing to be delivered or judged anew, which may open one of its tasks again, or change how it ends.
local function close_if_done(run)
  if run.left > 0 or run.state ~= 'running' then return end
  if redis.call('EXISTS', K.RUN .. run.key .. ':f', K.RUN .. run.key .. ':v') > 0 then return end
  if run.expired then
    run.state = 'failed'
  elseif run.cancel and (run.n.cancelled or 0) > 0 then
    run.state = 'cancelled'
  elseif run.leaf_failed > 0 then
    run.state = 'failed'
  elseif run.leaf_cancelled > 0 then
    run.state = 'cancelled'
  else
    run.state = 'success'
  end
  -- A run that is put back as it was had ended before.
  run.ended = run.had_ended or call.at
  redis.call('ZREM', K.LIVE, run.key)
  redis.call('ZADD', K.DONE, call.seconds, run.key)
  leave_active(run)
  run_event(run)
end

-- A run that had ended has unfinished tasks again.
local function reopen(run)
  if run.state == 'running' or run.state == 'queued' then return end
  run.state, run.cancel, run.expired = 'running', false, false
  redis.call('HDEL', K.RUN .. run.key, 'cancel', 'how', 'expired', 'ended')
  redis.call('ZREM', K.DONE, run.key)
  redis.call('ZADD', K.LIVE, call.seconds, run.key)
  enter_active(run, call.now)
  run_event(run)
end

-- A run is there, or again: tasks of runs after it may be waiting for it.
local function look_after(run)
  for _, key in ipairs(followers(run)) do
    local other = get_run(key)
    if other then push_work(other, {'p', 0}) end
  end
end

-- End a task instance without running it, or after it ran, and tell its downstream.
local function settle(task, state, silent)
  set_state(task, state, silent)
  if get_row(task.run, task.index).nd > 0 then push_work(task.run, {'d', task.index, 1}) end
end

-- Nothing holds it: offer it to the workers. An empty task passes here.
function release(task)
  local row = get_row(task.run, task.index)
  if row.e then
    task.b, task.d, task.z = call.at, call.at, nil
    settle(task, 'success')
  else
    offer(task, row)
  end
end

-- Why all of a run is being cancelled, in words.
local function why_cancelled(run)
  return run.expired and 'dagrun_timeout: the run took too long' or 'the run was cancelled'
end

-- Judge a pending task by its counts.
local function judge(task)
  if task.s ~= 'pending' then return end
  local row = get_row(task.run, task.index)
  if task.o then
    task.dv, task.z = true, 'skipped by ' .. get_row(task.run, task.o).id
    return settle(task, 'skipped')
  end
  if task.run.cancel then
    -- Whatever becomes pending in a run that is being cancelled has nothing to wait for.
    task.dv, task.z = true, why_cancelled(task.run)
    return settle(task, 'cancelled')
  end
  -- A run that waits for others of its DAG (_runs.lua) offers nothing.
  if task.run.state == 'queued' then return end
  local verdict = decide(row.r, row.nu, task.c)
  if verdict == 'run' then return pass(task) end
  if verdict then
    task.dv, task.z = true, 'trigger rule ' .. row.r
    settle(task, verdict)
  end
end

-- Cancel a task instance that has not ended: one that runs is marked, and ends as cancelled when its processes are gone.
local function cancel_task(task, words)
  if task.s ~= 'running' then
    leave_waiting(task, get_row(task.run, task.index))
    task.z, task.n = words, nil
    settle(task, 'cancelled')
  else
    if not task.y then
      task.y = call.at
      touch(task)
    end
    -- Also when it is being cancelled already: its end may be wanted in another way.
    redis.call('PUBLISH', K.HINT .. task.w, task.e)
  end
end

-- Put a waiting task back to pending without an event of its own.
local function take_back(task)
  leave_waiting(task, get_row(task.run, task.index))
  if task.s ~= 'pending' then set_state(task, 'pending', true) end
  task.dv, task.z, task.q = nil, nil, nil
  touch(task)
end

local DO = {}
-- Task instances that are read at once.
local PART = 50

function DO.d(run, index, from)
  local task, list = get_task(run, index), edges(run, 'd', index)
  local class = CLASS[task.s]
  for at = from, #list do
    if call.budget <= 0 then return {'d', index, at} end
    if (at - from) % PART == 0 then fetch(run, list, at, math.min(at + PART - 1, #list)) end
    call.budget = call.budget - 1
    local below = get_task(run, list[at])
    -- A task cleared meanwhile has nothing to deliver; one that is to be counted anew must not be judged by its old counts.
    if class and not call.evaluate[below.ref] then
      below.c[class] = (below.c[class] or 0) + 1
      touch(below)
      judge(below)
    end
  end
end

function DO.k(run, index, from)
  local list = get_task(run, index).k or {}
  for at = from, #list do
    if call.budget <= 0 then return {'k', index, at} end
    call.budget = call.budget - 1
    local below = get_task(run, list[at])
    if below and (below.s == 'pending' or below.s == 'queued' or below.s == 'parked') then
      if below.s ~= 'pending' then take_back(below) end
      below.o = index
      judge(below)
    end
  end
end

function DO.e(run, from)
  for index = from, run.total - 1 do
    if call.budget <= 0 then return {'e', index} end
    call.budget = call.budget - 1
    local task = get_task(run, index)
    if task.s == 'pending' then
      local row = get_row(run, index)
      show_deferred(task, row)
      if row.nu == 0 or row.r == 'always' or next(task.c) then judge(task) end
    end
  end
end

function DO.x(run, from)
  -- Under earlier releases a run could end with this left to do, and be opened again by a clear.
  if not run.cancel then return end
  for index = from, run.total - 1 do
    if call.budget <= 0 then return {'x', index} end
    local task = get_task(run, index)
    if task and not TERMINAL[task.s] then
      call.budget = call.budget - 1
      cancel_task(task, why_cancelled(run))
    else
      call.budget = call.budget - 0.1
    end
  end
end

function DO.r(run, index, from)
  local list = edges(run, 'd', index)
  for at = from, #list do
    if call.budget <= 0 then return {'r', index, at} end
    call.budget = call.budget - 1
    local below = get_task(run, list[at])
    -- What a branch said stays, whatever becomes of the other upstream tasks.
    if below.dv and TERMINAL[below.s] and not below.o then
      take_back(below)
      task_event(below)
      push_work(run, {'r', list[at], 1})
    elseif below.s == 'queued' or below.s == 'parked' then
      take_back(below)
      task_event(below)
    end
    call.evaluate[below.ref] = below
  end
end

-- Look anew at the tasks that wait for the run before, from index i: it is there now, or again.
function DO.p(run, from)
  for index = from, run.total - 1 do
    if call.budget <= 0 then return {'p', index} end
    call.budget = call.budget - 0.1
    local task = get_task(run, index)
    if task and task.s == 'parked' and task.g and is_past(task.g) then pass_again(task) end
  end
end

-- Count a task's upstream by outcome, from their states.
local function recount_task(task)
  local c = {}
  for _, index in ipairs(edges(task.run, 'u', task.index)) do
    local class = CLASS[get_task(task.run, index).s]
    if class then c[class] = (c[class] or 0) + 1 end
    call.budget = call.budget - 0.2
  end
  task.c = c
  touch(task)
end

-- Whether something else than counting is still to be done for this run.
local function has_other_work(run)
  if run.has_rest then return true end
  for at = call.working + 1, #call.work do
    local entry = call.work[at]
    if entry.run == run and entry.item[1] ~= 'j' then return true end
  end
  return false
end

-- One task is judged at a time, and what follows from it, or from what ended meanwhile, is delivered before the next is counted: counting looks
-- at states, and delivering adds to counts, so that what is counted first would count twice.
function DO.j(run, from)
  if has_other_work(run) then
    push_work(run, {'j', from})
    return
  end
  for index = from, run.total - 1 do
    if call.budget <= 0 then return {'j', index} end
    local task = get_task(run, index)
    call.budget = call.budget - 0.5
    recount_task(task)
    if task.s == 'pending' then
      judge(task)
      if task.s ~= 'pending' then
        push_work(run, {'j', index + 1})
        return
      end
      show_deferred(task, get_row(run, index))
    end
  end
end

-- Put items of a run back to the begin (LPUSH, the last one first) or the end (RPUSH) of its frontier.
local function put_back(command, run, items)
  for from = 1, #items, 1000 do
    redis.call(command, K.RUN .. run.key .. ':f', unpack(items, from, math.min(from + 999, #items)))
  end
end

-- Do the queued items within the budget; what is left over goes back to the frontiers, in its order: what was taken up before what was not, and
-- that before what came in this call. Returns whether anything was left.
local function drain()
  local old, new, seen, at = {}, {}, {}, 1
  while at <= #call.work do
    local entry = call.work[at]
    local run, rest = entry.run, entry.item
    call.working = at
    seen[run] = true
    if call.budget > 0 and (entry.is_old or not run.has_rest) then rest = DO[rest[1]](run, rest[2], rest[3]) end
    if rest then
      local left = entry.is_old and old or new
      left[run] = left[run] or {}
      table.insert(left[run], entry.is_old and 1 or #left[run] + 1, table.concat(rest, ':'))
    end
    at = at + 1
  end
  call.work = {}
  local more = next(call.unfinished) ~= nil
  for run in pairs(seen) do
    put_back('LPUSH', run, old[run] or {})
    put_back('RPUSH', run, new[run] or {})
    if old[run] or new[run] or run.has_rest then call.unfinished[run.key], more = true, true end
  end
  return more
end

-- Do the queued work, then judge what must be judged anew, hand freed slots over, and close runs.
--
-- One task is judged at a time and what follows from it is delivered before the next is counted, because counting looks at states
-- and delivering adds to counts: in the other order an outcome would count twice.
local function work_off()
  local more = drain()
  while not more and call.budget > 0 and next(call.evaluate) do
    local ref = next(call.evaluate)
    local task = call.evaluate[ref]
    call.evaluate[ref] = nil
    recount_task(task)
    judge(task)
    more = drain()
  end
  for ref, task in pairs(call.evaluate) do
    redis.call('SADD', K.RUN .. task.run.key .. ':v', ref)
    call.unfinished[task.run.key] = true
  end
end

-- Do all that follows, close runs that have ended, and start those that waited for that.
local function do_work()
  repeat
    repeat
      work_off()
      tell_followers()
    until not call.work[1]
    hand_over_all()
    for _, run in pairs(call.runs) do
      if run then close_if_done(run) end
    end
  until not start_waiting_runs()
end

local function unfinished_runs()
  local list = {}
  for key in pairs(call.unfinished) do list[#list + 1] = key end
  return list
end
