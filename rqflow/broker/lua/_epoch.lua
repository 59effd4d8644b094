-- Epochs: a Redis that was restarted, rolled back, replaced by its replica or emptied is not believed before the leader has put its runs right
-- and every worker has said again what it holds.
--
-- K.EPOCH has run_id (of the server process that the epoch is about), number, state (rebuilding | open). Queues in K.CLOSED give no work yet.

-- The run id of this server process. A library lives as long as the process, so that it asks once; a script asks each time.
local function server_id()
  if not known.server then
    local info = redis.call('INFO', 'server')
    -- A plain search, a pattern costs ten times that.
    local _, at = string.find(info, '\nrun_id:', 1, true)
    known.server = string.sub(info, at + 1, at + 40)
  end
  return known.server
end

-- Why a caller may tell and claim nothing now, or nil: 'rebuild' (wait), 'announce' (say what you hold), 'admit' (the hub must note you first).
-- `epoch` is the number in which the caller announced itself, absent for one that holds nothing over an epoch; `machine` who claims.
local function closed_to(epoch, machine)
  local seen = redis.call('HMGET', K.EPOCH, 'run_id', 'number', 'state')
  if seen[1] ~= server_id() or seen[3] ~= 'open' then return 'rebuild' end
  if epoch and tonumber(seen[2]) ~= epoch then return 'announce' end
  -- Without a leader nobody could note it: then it is enough that the next one will.
  if machine and redis.call('HEXISTS', K.ADMITTED, machine) == 0 and redis.call('EXISTS', K.LEADER) == 1 then return 'admit' end
end

-- The queues of `wanted` that give work: neither closed nor halted by a person.
local function open_queues(wanted)
  local closed, list = {}, {}
  for _, queue in ipairs(redis.call('HKEYS', K.HALTED)) do closed[queue] = true end
  for _, queue in ipairs(redis.call('SMEMBERS', K.CLOSED)) do closed[queue] = true end
  for _, queue in ipairs(wanted) do
    if not closed[queue] then list[#list + 1] = queue end
  end
  return list
end
