-- retry_on_other_worker: the next try of a task waits for a worker on another host than the one before it ran on, or else for one of another work_dir
-- there, for as long as such a one lives that serves its queue. When there is none, whoever asks may have it.

-- A worker is called HOST.WORK_DIR.RANDOM; its machine HOST.WORK_DIR.
local function without_last(name)
  return string.match(name, '^(.*)%.[^.]*$') or name
end

-- Note the machine of the try that is over, before who ran it is forgotten. What goes on in the same try may do so anywhere.
local function remember_machine(task, row)
  if row.ow and task.w and task.s ~= 'running' and task.s ~= 'up_for_reschedule' then task.lw = without_last(task.w) end
end

local function has_labels(row, labels)
  for _, label in ipairs(row.l or {}) do
    if not labels[label] then return false end
  end
  return true
end

-- Whether the worker of this key lives, may be given tasks, and has the labels. Its record has a minute more than a lease to live after each
-- heartbeat, and who runs RQ's own work loop takes nothing that is parked.
local function may_serve(key, machine, row)
  local said = redis.call('HMGET', key, 'slots', 'death', 'labels')
  if not said[1] or said[2] or redis.call('TTL', key) <= 60 or redis.call('HEXISTS', K.HALTED_WORKERS, machine) == 1 then return false end
  local labels = {}
  for label in string.gmatch(said[3] or '', '[^,]+') do labels[label] = true end
  return has_labels(row, labels)
end

-- How far from the machine of the try before there is a worker for the next one: 2 another host, 1 another work_dir, 0 there is none. Once a call.
local function farthest(task, row)
  local known = task.lw .. ':' .. row.q .. ':' .. table.concat(row.l or {}, ',')
  local found = call.farthest[known]
  if found then return found end
  found = 0
  for _, key in ipairs(redis.call('SMEMBERS', K.RQ_WORKERS .. ':' .. row.q)) do
    local machine = without_last(string.sub(key, #K.RQ_WORKER + 1))
    local away = machine == task.lw and 0 or without_last(machine) == without_last(task.lw) and 1 or 2
    if away > found and may_serve(key, machine, row) then found = away end
    if found == 2 then break end
  end
  call.farthest[known] = found
  return found
end

-- Whether the next try should wait for another worker than the one before, and whether `worker` is far enough from that.
local function wants_another(task, row)
  return row.ow and task.lw and farthest(task, row) > 0
end

local function is_far_enough(task, row, worker)
  if not (row.ow and task.lw) then return true end
  local machine = without_last(worker)
  if machine ~= task.lw and without_last(machine) ~= without_last(task.lw) then return true end
  return farthest(task, row) <= (machine == task.lw and 0 or 1)
end
