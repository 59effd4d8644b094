-- Clear task instances (they run again), or mark them with a state; what was only derived from them is judged anew.
--
-- ARGV 1  request id   ARGV 2  JSON: caller, run, indices, state ('pending' clears), by, retries {index: retries allowed after a clear}
-- Returns JSON {changed: n, refused: [indices of running tasks that a clear cannot touch], unfinished: […]}.
-- A running task that is marked is stopped first and gets its state when it ends.
local request = cjson.decode(ARGV[2])
local before = repeated(request.caller, ARGV[1])
if before then return before end

local run = get_run(request.run)
if not run then return finish_call(request.caller, ARGV[1], {changed = 0, refused = {}, unfinished = {}}) end
local changed, refused_list, target = 0, {}, request.state

for _, index in ipairs(request.indices) do
  local task = get_task(run, index)
  local row = get_row(run, index)
  if task.s == 'running' then
    if target == 'pending' then
      refused_list[#refused_list + 1] = index
    else
      task.mk = target
      task.z = 'marked ' .. target .. ' by ' .. request.by
      touch(task)
      redis.call('PUBLISH', K.HINT .. task.w, task.e)
      changed = changed + 1
    end
  elseif task.s == 'removed' or target ~= 'pending' and task.s == target then
    call.budget = call.budget - 1
  else
    local was_terminal, ran = TERMINAL[task.s], task.e ~= nil
    if task.s == 'queued' or task.s == 'parked' then
      leave_waiting(task, row)
      free_slots(task, row)
    end
    local skipped_by_it = task.k
    task.k, task.dv, task.n, task.q, task.g, task.y = nil, nil, nil, nil, nil, nil
    if target == 'pending' then
      if was_terminal and ran then task.t = task.t + 1 end
      task.m = task.t + (request.retries[tostring(index)] or 0)
      task.z = 'cleared by ' .. request.by
      if task.s ~= 'pending' then set_state(task, 'pending') end
      call.evaluate[task.ref] = task
    else
      task.o = nil
      task.z, task.d = 'marked ' .. target .. ' by ' .. request.by, digits(call.now)
      set_state(task, target)
    end
    changed = changed + 1
    reopen(run)
    if was_terminal or target == 'pending' then
      for _, below in ipairs(skipped_by_it or {}) do
        local other = get_task(run, below)
        if other.o == index then
          other.o = nil
          if other.dv and other.s == 'skipped' then
            take_back(other)
            task_event(other)
            push_work(run, {'r', below, 1})
          end
          call.evaluate[other.ref] = other
        end
      end
      push_work(run, {'r', index, 1})
    else
      push_work(run, {'d', index, 1})
    end
  end
end
do_work()
return finish_call(request.caller, ARGV[1], {changed = changed, refused = refused_list, unfinished = unfinished_runs()})
