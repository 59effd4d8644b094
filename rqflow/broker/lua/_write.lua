-- The end of a step: everything that it changed is written back, bells are rung, and the reply is kept for a repeated request.

local function write_tasks()
  local by_run = {}
  for ref, task in pairs(call.dirty) do
    local run, index = task.run, task.index
    local list = by_run[run.key] or {}
    by_run[run.key] = list
    task.run, task.index, task.ref = nil, nil, nil
    -- What has ended is judged again only after it was counted anew.
    if next(task.c) == nil or TERMINAL[task.s] then task.c = nil end
    list[#list + 1] = index
    list[#list + 1] = cjson.encode(task)
    task.run, task.index, task.ref, task.c = run, index, ref, task.c or {}
  end
  for key, list in pairs(by_run) do in_parts('HSET', K.RUN .. key .. ':t', list) end
end

-- Returns the id of the last entry, nil when nothing happened.
local function write_events()
  local last
  local chunk = {}
  for at, event in ipairs(call.events) do
    if event then chunk[#chunk + 1] = event end
    if #chunk == 100 or at == #call.events and chunk[1] then
      last = redis.call('XADD', K.EVENTS, '*', 'e', '[' .. table.concat(chunk, ',') .. ']')
      chunk = {}
    end
  end
  return last
end

local function write_runs(last_event)
  for _, run in pairs(call.runs) do
    if run and run.dirty then
      local list, was = {'left', whole(run.left), 'n', cjson.encode(run.n)}, run.was
      -- What seldom changes; `was` is in the order of RUN_FIELDS.
      if run.state ~= was[4] then list[5], list[6] = 'state', run.state end
      if run.leaf_failed ~= tonumber(was[7]) then list[#list + 1], list[#list + 2] = 'leaf_failed', whole(run.leaf_failed) end
      if run.leaf_cancelled ~= tonumber(was[8]) then list[#list + 1], list[#list + 2] = 'leaf_cancelled', whole(run.leaf_cancelled) end
      if run.seq ~= tonumber(was[13] or '0') then list[#list + 1], list[#list + 2] = 'seq', digits(run.seq) end
      if last_event then list[#list + 1], list[#list + 2] = 'last_event', last_event end
      if run.started ~= was[11] then list[#list + 1], list[#list + 2] = 'started', run.started end
      if run.ended then list[#list + 1], list[#list + 2] = 'ended', run.ended end
      redis.call('HSET', K.RUN .. run.key, unpack(list))
    end
  end
end

-- Write what was noted only; what is put must not be read before.
local function write_noted()
  write_projection()
  write_used()
  for key in pairs(call.puts) do write_key(key) end
end

local function ring(bell)
  if redis.call('LLEN', bell) == 0 then redis.call('LPUSH', bell, '1') end
end

-- Write everything back, ring the bells, keep the reply for a repeated request, and return it as JSON. Calls are repeated within seconds;
-- `life` is the seconds for which the reply is kept, 600 unless said.
local function finish_call(caller, id, reply, life)
  write_tasks()
  write_noted()
  write_runs(write_events())
  -- A labelled task rings only when it is new, else workers without the label would wake each other for ever.
  for queue, how in pairs(call.touched) do
    if how == 'labelled' or redis.call('ZCARD', K.READY .. queue) > 0 then ring(K.BELL .. queue) end
  end
  if call.wake then ring(K.WAKE) end
  local text = cjson.encode(reply)
  redis.call('HSET', K.REPLY .. caller, 'id', id, 'reply', text)
  redis.call('EXPIRE', K.REPLY .. caller, life or 600)
  return text
end
