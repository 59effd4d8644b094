-- Rebuild what is only a cache: counts of upstream outcomes, the run's counters, from states and edges.
--
-- ARGV 1  request id   ARGV 2  JSON: caller, run
-- Returns JSON {changed: [what was wrong, in words], unfinished: […]}. First does what earlier steps left over; while there is more
-- of that (unfinished), nothing is counted.
local request = cjson.decode(ARGV[2])
local before = repeated(request.caller, ARGV[1])
if before then return before end

local run, changed = get_run(request.run), {}
if not run then return finish_call(request.caller, ARGV[1], {changed = {}, unfinished = {}}) end
push_work(run, nil)
do_work()
if next(call.unfinished) then return finish_call(request.caller, ARGV[1], {changed = {}, unfinished = unfinished_runs()}) end

local n, left, leaf_failed, leaf_cancelled = {}, 0, 0, 0
for index = 0, run.total - 1 do
  local task = get_task(run, index)
  local row, old = get_row(run, index), task.c
  recount_task(task)
  for _, class in ipairs(TERMINAL[task.s] and {} or {'s', 'f', 'u', 'k', 'x', 'r'}) do
    if (old[class] or 0) ~= (task.c[class] or 0) then
      changed[#changed + 1] = row.id .. ': ' .. class .. ' was ' .. (old[class] or 0) .. ', is ' .. (task.c[class] or 0)
    end
  end
  if task.s ~= 'removed' then n[task.s] = (n[task.s] or 0) + 1 end
  if not TERMINAL[task.s] then left = left + 1 end
  if is_leaf(task, row) then
    if task.s == 'failed' or task.s == 'upstream_failed' or task.s == 'lost' then leaf_failed = leaf_failed + 1 end
    if task.s == 'cancelled' then leaf_cancelled = leaf_cancelled + 1 end
  end
end
local function compare(name, old, new)
  if old ~= new then changed[#changed + 1] = name .. ' was ' .. tostring(old) .. ', is ' .. tostring(new) end
end
compare('left', run.left, left)
compare('leaf_failed', run.leaf_failed, leaf_failed)
compare('leaf_cancelled', run.leaf_cancelled, leaf_cancelled)
for state, number in pairs(n) do compare('tasks ' .. state, run.n[state], number) end
run.n, run.left, run.leaf_failed, run.leaf_cancelled, run.dirty = n, left, leaf_failed, leaf_cancelled, true
close_if_done(run)
return finish_call(request.caller, ARGV[1], {changed = changed, unfinished = unfinished_runs()})
