-- The life of one try: a worker claims it, names it in heartbeats, and tells its end.

-- Say that an XCom has this value now; cjson.null: that it is gone.
local function xcom_event(task, row, key, value, seq)
  call.events[#call.events + 1] = {kind = 'xcom', run = task.run.key, dag = task.run.dag, run_id = task.run.run_id, task = row.id, key = key,
    value = value, seq = seq, at = digits(call.now)}
end

-- Keep XComs of the current try, and say so.
local function keep_xcoms(task, row, xcoms)
  if not xcoms or next(xcoms) == nil then return end
  local seq, known = next_seq(task), {}
  task.xk = task.xk or {}
  for _, key in ipairs(task.xk) do known[key] = true end
  for key, value in pairs(xcoms) do
    redis.call('HSET', K.RUN .. task.run.key .. ':x', task.index .. ':' .. key, value)
    if not known[key] then table.insert(task.xk, key) end
    xcom_event(task, row, key, value, seq)
  end
end

-- Forget the XComs of the try before, and say so.
local function drop_xcoms(task, row)
  if not task.xk then return end
  local seq = next_seq(task)
  for _, key in ipairs(task.xk) do
    redis.call('HDEL', K.RUN .. task.run.key .. ':x', task.index .. ':' .. key)
    xcom_event(task, row, key, cjson.null, seq)
  end
  task.xk = nil
end

-- The grace of a try in µs, nil for never: the task's own, else what the worker says for the queue, else what it says for all ('').
local function grace_of(row, graces)
  local grace = row.gr or graces[row.q] or graces[''] or 0
  return grace > 0 and grace or nil
end

-- States in which a try has not begun.
local WAITS = {pending = true, queued = true, parked = true}

-- Note who runs a task instance (w, e), with lease and slots, and show it in RQ.
local function run_here(task, row, turn_number, lease)
  if not task.h then hold_slots(task, row) end
  redis.call('ZADD', K.LEASES, (call.now + lease) / 1000000, task.ref .. ':' .. task.e)
  redis.call('HSET', K.HOLDS .. task.w, task.e, task.ref .. ':' .. turn_number)
  project(task, row)
  touch(task)
end

-- Take the task for this worker: slots, lease, who holds it. It must be queued, or parked for labels.
-- `request` has caller, number (of the turn), lease (µs), graces {queue or '': µs}.
local function start(task, row, request, execution)
  redis.call('ZREM', K.READY .. row.q, task.q)
  redis.call('ZREM', K.LABELLED .. row.q, task.q)
  if not task.h then hold_slots(task, row) end
  drop_xcoms(task, row)
  task.k, task.dv, task.z, task.d, task.q = nil, nil, nil, nil, nil
  task.w, task.e, task.b, task.gr = request.caller, execution, digits(call.now), grace_of(row, request.graces)
  redis.call('ZADD', K.LEASES, (call.now + request.lease) / 1000000, task.ref .. ':' .. execution)
  redis.call('HSET', K.HOLDS .. request.caller, execution, task.ref .. ':' .. request.number)
  set_state(task, 'running')
  return {task.run.key, task.index, row.id, task.t, execution, task.j, row.q, task.run.version, task.b, task.m, (task.gr or 0) / 1000000}
end

-- Forget that a running try could not be reached.
local function is_reachable(task)
  if not task.u then return end
  local member = task.ref .. ':' .. task.e
  redis.call('ZREM', K.UNREACHABLE, member)
  redis.call('ZREM', K.NOTICES, member)
  task.u = nil
  touch(task)
end

-- Its worker has been heard of: renew the lease of a running try.
local function renew(task, lease)
  redis.call('ZADD', K.LEASES, (call.now + lease) / 1000000, task.ref .. ':' .. task.e)
  if task.u then
    is_reachable(task)
    note_event(task, 'reachable', 'its worker is heard of again')
  end
end

-- Give up the lease and the hold of a running try.
local function let_go(task)
  redis.call('ZREM', K.LEASES, task.ref .. ':' .. task.e)
  redis.call('HDEL', K.HOLDS .. task.w, task.e)
  is_reachable(task)
  task.gr = nil
end

-- Take a task instance out of wherever it is, with all that hangs on it; its state is the caller's to change.
local function take_out(task, row)
  leave_waiting(task, row)
  if task.s == 'running' then
    let_go(task)
    free_slots(task, row)
  end
  unproject(task, row)
end

-- Queue the next try, or the same one again.
local function queue_again(task, next_try)
  if next_try then task.t = task.t + 1 end
  task.q = nil
  offer(task, get_row(task.run, task.index))
end

-- The reason in words why a limit holds this task back, which is parked then, or nil.
local function refused(task, row)
  if task.h then return nil end
  local limit = blocking_limit(task, row)
  if not limit then return nil end
  park(task, row, limit)
  return limit.words
end

local function has_labels(row, labels)
  for _, label in ipairs(row.l or {}) do
    if not labels[label] then return false end
  end
  return true
end

-- The best task of the labelled set that this worker can serve, among the first 64: task, score.
local function best_labelled(queue, labels)
  if next(labels) == nil then return nil end
  local list = redis.call('ZRANGE', K.LABELLED .. queue, 0, 63, 'WITHSCORES')
  for at = 1, #list, 2 do
    local task = get_ref(string.sub(list[at], 15))
    if task and task.s == 'parked' and has_labels(get_row(task.run, task.index), labels) then return task, tonumber(list[at + 1]) end
  end
end

-- The best ready task of a queue: task, score. Members without a task (forgotten runs) are swept away.
local function best_ready(queue)
  while true do
    local head = redis.call('ZRANGE', K.READY .. queue, 0, 0, 'WITHSCORES')
    if not head[1] then return nil end
    local task = get_ref(string.sub(head[1], 15))
    if task and task.s == 'queued' and task.q == head[1] then return task, tonumber(head[2]) end
    redis.call('ZREM', K.READY .. queue, head[1])
  end
end

-- Whether skips, cancels and re-judgements that earlier steps left over have reached all of this run; does them now if not. A task
-- that one of them is about to take back must not start before.
local function is_settled(run)
  if run.settled == nil then
    local waiting = redis.call('EXISTS', K.RUN .. run.key .. ':v') == 1
    for _, item in ipairs(redis.call('LRANGE', K.RUN .. run.key .. ':f', 0, -1)) do
      local kind = string.sub(item, 1, 1)
      waiting = waiting or kind == 'k' or kind == 'r' or kind == 'x'
    end
    if waiting then
      push_work(run, nil)
      do_work()
    end
    run.settled = not (waiting and call.unfinished[run.key])
  end
  return run.settled
end

-- Claim up to `wanted` tasks from the queues, in their order; looks at no more than 64 that are held back.
local function claim(request)
  local claims, held_back, labels = {}, 0, {}
  for _, label in ipairs(request.labels) do labels[label] = true end
  if redis.call('XLEN', K.EVENTS) > request.max_unrecorded then return claims end
  for _, queue in ipairs(open_queues(request.queues)) do
    while #claims < request.wanted and held_back < 64 do
      local task, score = best_ready(queue)
      local other, other_score = best_labelled(queue, labels)
      if other and (not task or other_score < score or other_score == score and other.q < task.q) then task = other end
      if not task or not is_settled(task.run) then break end
      local row = get_row(task.run, task.index)
      if task.s ~= 'queued' and task.s ~= 'parked' or refused(task, row) then
        held_back = held_back + 1
      else
        claims[#claims + 1] = start(task, row, request, request.executions[#claims + 1])
      end
    end
    call.touched[queue] = call.touched[queue] or 'ready'
  end
  return claims
end

-- A running try came to nothing, because nothing of it was ever started: the task goes back to its queue, same try.
local function give_back(task)
  let_go(task)
  free_slots(task, get_row(task.run, task.index))
  task.z = nil
  if task.mk then
    local state = task.mk
    task.mk = nil
    settle(task, state)
  elseif task.y or task.run.cancel then
    task.z = 'cancelled before it started'
    settle(task, 'cancelled')
  else
    queue_again(task, false)
  end
end

-- Plan the next try, or the same one again.
local function plan_again(task, state, retry_in, silent)
  task.n = digits(call.now + math.floor(retry_in * 1000000))
  set_state(task, state, silent)
end

-- A try is lost: its slots and its lease are given up. By on_lost the task gets its next try, waits for a person, or that was all.
-- `may_run_again` is false when somebody wanted it stopped.
local function lose(task, row, tell, extra, may_run_again)
  local retry_in = tell.retry_in or 0
  set_state(task, 'lost', true)
  task_event(task, extra)
  if may_run_again and row.ol == 'wait' then
    task.t = task.t + 1
    task.m = math.max(task.m, task.t)
    task.z = (tell.reason or 'lost') .. '; on_lost=wait: a person must clear or mark it'
    set_state(task, 'parked')
  elseif may_run_again and not row.ol and task.t < task.m then
    plan_again(task, 'up_for_retry', retry_in)
    if retry_in <= 0 then queue_again(task, true) end
  elseif row.nd > 0 then
    push_work(task.run, {'d', task.index, 1})
  end
end

-- Declare the running try of a task lost, of which its worker does not tell. Never `cancelled`: whether its processes are gone is not known.
local function declare_lost(task, reason, retry_in)
  local row = get_row(task.run, task.index)
  let_go(task)
  free_slots(task, row)
  task.d = digits(call.now)
  if task.mk then
    local state = task.mk
    task.mk = nil
    return settle(task, state)
  end
  task.z = reason
  lose(task, row, {reason = reason, retry_in = retry_in}, {}, not (task.y or task.run.cancel))
end

-- Apply one end as a worker tells it: 'ok', or 'stale' when this try is no longer the current one (kept as evidence).
-- `request` has caller, and machine when the worker wants to know of the recording.
local function finish(request, tell)
  local run = get_run(tell.run)
  local task = run and get_task(run, tell.index)
  local ended = digits(call.now - math.floor((tell.ended_ago or 0) * 1000000))
  local started = digits(tonumber(ended) - math.floor((tell.duration or 0) * 1000000))
  if not task or task.s ~= 'running' or task.t ~= tell['try'] or task.e ~= tell.execution then
    call.events[#call.events + 1] = {kind = 'late', run = tell.run, dag = run and run.dag or tell.dag, run_id = run and run.run_id or tell.run_id,
      task = tell.task, index = tell.index, ['try'] = tell['try'], state = tell.state, seq = digits(call.now), at = digits(call.now),
      reason = tell.reason, worker = request.caller, machine = request.machine, execution = tell.execution,
      started_at = started, ended_at = ended, facts = tell.facts}
    return 'stale'
  end
  local row, state = get_row(run, tell.index), tell.state
  let_go(task)
  free_slots(task, row)
  task.d = ended
  if task.mk then
    -- The reason that a marked task has got already says who did it.
    state, task.mk, tell.reason = task.mk, nil, task.z
  elseif (task.y or run.cancel) and (state == 'failed' or state == 'lost' or state == 'up_for_retry' or state == 'up_for_reschedule') then
    state = 'cancelled'
  elseif state == 'up_for_retry' and task.t >= task.m then
    state = 'failed'
  end
  task.z = tell.reason
  keep_xcoms(task, row, tell.xcoms)
  local extra = {started_at = started, facts = tell.facts, machine = request.machine}
  if state == 'lost' then
    lose(task, row, tell, extra, true)
    return 'ok'
  end
  if state == 'up_for_retry' or state == 'up_for_reschedule' then
    plan_again(task, state, tell.retry_in or 0, true)
    task_event(task, extra)
    if (tell.retry_in or 0) <= 0 then queue_again(task, state == 'up_for_retry') end
    return 'ok'
  end
  if state == 'success' and tell.skip then
    task.k = tell.skip
    push_work(run, {'k', task.index, 1})
  end
  set_state(task, state, true)
  task_event(task, extra)
  if row.nd > 0 then push_work(run, {'d', task.index, 1}) end
  return 'ok'
end
