-- The life of one try: a worker claims it, names it in heartbeats, and tells its end.

-- When a lease given now ends, in seconds.
local function lease_end(lease)
  return spelled_seconds(call.now + lease)
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

-- RQ's own records of an execution have an end when a stock worker made them, and would be gone while the try runs.
local function keep_execution(task)
  redis.call('PERSIST', K.RQ_EXECUTION .. task.j .. ':' .. task.e)
  redis.call('PERSIST', K.RQ_EXECUTIONS .. task.j)
end

-- Note who runs a task instance (w, e), with lease and slots, and show it in RQ.
local function run_here(task, row, turn_number, lease)
  if not task.h then hold_slots(task, row) end
  put(ZSET, K.LEASES, task.ref .. ':' .. task.e, lease_end(lease))
  put(HASH, K.HOLDS .. task.w, task.e, task.ref .. ':' .. turn_number)
  project(task, row)
  keep_execution(task)
  touch(task)
end

-- Take the task for this worker: slots, lease, who holds it. It must be queued, or parked for labels.
-- `request` has caller, number (of the turn), lease (µs), graces {queue or '': µs}.
local function start(task, row, request, execution)
  unoffer(task, row)
  untell_queued(task)
  if not task.h then hold_slots(task, row) end
  local first = first_began(task)
  -- What a sensor left at its last look is there at the next one.
  if not first then drop_xcoms(task, row) end
  task.k, task.dv, task.z, task.d, task.q, task.lo = nil, nil, nil, nil, nil, nil
  task.w, task.e, task.b, task.gr = request.caller, execution, call.at, grace_of(row, request.graces)
  put(ZSET, K.LEASES, task.ref .. ':' .. execution, lease_end(request.lease))
  put(HASH, K.HOLDS .. request.caller, execution, task.ref .. ':' .. request.number)
  set_state(task, 'running')
  local waited, looks = 0, 0
  if first then waited, looks = (call.now - tonumber(first)) / 1000000, task.f[3] end
  return {task.run.key, task.index, row.id, task.t, execution, task.j, row.q, task.vs or task.run.version, task.b, task.m,
    (task.gr or 0) / 1000000, waited, looks}
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
  put(ZSET, K.LEASES, task.ref .. ':' .. task.e, lease_end(lease))
  if task.u then
    is_reachable(task)
    note_event(task, 'reachable', 'its worker is heard of again')
  end
end

-- Give up the lease and the hold of a running try.
local function let_go(task)
  put(ZSET, K.LEASES, task.ref .. ':' .. task.e, false)
  put(HASH, K.HOLDS .. task.w, task.e, false)
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

-- The best task of the labelled set that this worker can serve, among the first 64: task, score.
local function best_labelled(queue, labels, worker)
  local list = redis.call('ZRANGE', K.LABELLED .. queue, '0', '63', 'WITHSCORES')
  for at = 1, #list, 2 do
    local task = get_ref(string.sub(list[at], 15))
    local row = task and task.s == 'parked' and get_row(task.run, task.index)
    if row and has_labels(row, labels) and is_far_enough(task, row, worker) then return task, tonumber(list[at + 1]) end
  end
end

-- Whether a member of a ready set stands for a task that is ready; one that does not (forgotten runs) is swept away.
local function is_ready(key, member)
  local task = get_ref(string.sub(member, 15))
  if task and task.s == 'queued' and task.q == member then return task end
  put(ZSET, key, member, false)
end

-- So many are compared one by one before they are written.
local FEW = 16

-- The best of the ready set of a queue as Redis has it: task, score. As many as are wanted are read at once; those that are claimed, or parked,
-- are not ready any more when they are looked at again.
local function best_listed(queue, key)
  while true do
    local heads = call.heads[queue]
    if not heads or heads.at > #heads and #heads == 2 * call.wanted then
      -- At first what was put there may wait: best_ready compares it, and what was taken away is not ready.
      if heads then write_key(key) end
      heads = redis.call('ZRANGE', key, '0', whole(call.wanted - 1), 'WITHSCORES')
      heads.at = 1
      call.heads[queue] = heads
    end
    local member = heads[heads.at]
    if not member then return nil end
    local task = is_ready(key, member)
    if task then return task, tonumber(heads[heads.at + 1]) end
    heads.at = heads.at + 2
  end
end

-- The best ready task of a queue, those that this step has released included: task, score.
local function best_ready(queue)
  local key = K.READY .. queue
  local task, score = best_listed(queue, key)
  for member, other in pairs(call.puts[key] or {}) do
    if other and (not task or other < score or other == score and member < task.q) then
      task, score = get_ref(string.sub(member, 15)), other
    end
  end
  return task, score
end

-- Those that this step has put on the ready set of a queue are compared one by one, which pays while they are few.
local function list_many(queue)
  local key, count = K.READY .. queue, 0
  for _ in pairs(call.puts[key] or {}) do
    count = count + 1
    if count > FEW then return write_key(key) end
  end
end

-- Whether skips, cancels and re-judgements that earlier steps left over have reached all of this run; does them now if not. A task
-- that one of them is about to take back must not start before.
local function is_settled(run)
  -- What this call took up and has not left over is done.
  if run.settled == nil and run.resumed and not call.unfinished[run.key] then run.settled = true end
  if run.settled == nil then
    local found = redis.call('EXISTS', K.RUN .. run.key .. ':v', K.RUN .. run.key .. ':f') > 0
    local waiting = found and redis.call('EXISTS', K.RUN .. run.key .. ':v') == 1
    for _, item in ipairs(found and redis.call('LRANGE', K.RUN .. run.key .. ':f', 0, -1) or {}) do
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
  call.wanted = request.wanted
  for _, label in ipairs(request.labels or {}) do labels[label] = true end
  if redis.call('XLEN', K.EVENTS) > request.max_unrecorded then return claims end
  for _, queue in ipairs(open_queues(request.queues)) do
    list_many(queue)
    local some_ask = redis.call('EXISTS', K.LABELLED .. queue) == 1
    while #claims < request.wanted and held_back < 64 do
      local task, score = best_ready(queue)
      local other, other_score
      if some_ask then other, other_score = best_labelled(queue, labels, request.caller) end
      if other and (not task or other_score < score or other_score == score and other.q < task.q) then task = other end
      if not task or not is_settled(task.run) then break end
      local row = get_row(task.run, task.index)
      if task.s ~= 'queued' and task.s ~= 'parked' or refused(task, row) then
        held_back = held_back + 1
      else
        claims[#claims + 1] = start(task, row, request, string.format('%s%04x', request.executions, #claims))
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
  if task.mk == 'pending' then
    task.mk = nil
    queue_again(task, false)
  elseif task.mk then
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
  task.d = call.at
  if task.mk == 'pending' then
    -- A person wants it to run again.
    task.mk = nil
    plan_again(task, 'up_for_retry', 0)
    return queue_again(task, true)
  end
  if task.mk then
    local state = task.mk
    task.mk = nil
    return settle(task, state)
  end
  task.z = reason
  lose(task, row, {reason = reason, retry_in = retry_in}, {}, not (task.y or task.run.cancel))
end

-- The same try goes on later, in another execution: remember when its first one `started`.
local function go_on_later(task, started, retry_in)
  if not first_began(task) then task.f = {task.t, started, 0} end
  if retry_in > 0 then task.f[3] = task.f[3] + 1 end
end

-- Read what the ends of a turn are about.
local function fetch_ended(ends)
  local by_run = {}
  for _, tell in ipairs(ends) do
    local list = by_run[tell.run] or {}
    by_run[tell.run], list[#list + 1] = list, tell.index
  end
  for key, list in pairs(by_run) do
    local run = get_run(key)
    if run then fetch(run, list, 1, #list, true) end
  end
end

-- States in which the end of a try, told by its worker, has left a task instance; lost is what others say of it, too.
local IS_OVER = {success = true, failed = true, skipped = true, cancelled = true, up_for_retry = true, up_for_reschedule = true}

-- Apply one end as a worker tells it: 'ok', or 'stale' when this try is no longer the current one (kept as evidence), or has ended so.
-- `request` has caller, and machine when the worker wants to know of the recording.
local function finish(request, tell)
  local run = get_run(tell.run)
  local task = run and get_task(run, tell.index)
  local ended = digits(call.now - math.floor((tell.ended_ago or 0) * 1000000))
  local started = digits(tonumber(ended) - math.floor((tell.duration or 0) * 1000000))
  if task and task.t == tell['try'] and task.e == tell.execution and (IS_OVER[task.s] and task.s ~= 'lost' or task.s == tell.state) then
    -- Told once more, because its worker does not know that the history has it; which may not, if Redis was restarted in between.
    for _, key in ipairs(task.xk or {}) do
      local value = redis.call('HGET', K.RUN .. run.key .. ':x', task.index .. ':' .. key)
      if value then xcom_event(task, get_row(run, tell.index), key, value, task.v) end
    end
    started = digits(tonumber(task.d or ended) - math.floor((tell.duration or 0) * 1000000))
    say_task(task, {started_at = started, facts = tell.facts, machine = request.machine})
    return 'stale'
  end
  if not task or task.s ~= 'running' or task.t ~= tell['try'] or task.e ~= tell.execution then
    add_event(cjson.encode({kind = 'late', run = tell.run, dag = run and run.dag or tell.dag, run_id = run and run.run_id or tell.run_id,
      task = tell.task, index = tell.index, ['try'] = tell['try'], state = tell.state, seq = call.at, at = call.at,
      reason = tell.reason, worker = request.caller, machine = request.machine, execution = tell.execution,
      started_at = started, ended_at = ended, facts = cjson.decode(tell.facts)}))
    return 'stale'
  end
  local row, state = get_row(run, tell.index), tell.state
  let_go(task)
  free_slots(task, row)
  task.d = ended
  if task.mk == 'pending' then
    -- It was cleared while it ran: it runs again, whatever became of it.
    state, task.mk, tell.reason, tell.retry_in, tell.skip = 'up_for_retry', nil, task.z, 0, nil
  elseif task.mk then
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
    if state == 'up_for_reschedule' then go_on_later(task, started, tell.retry_in or 0) end
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
