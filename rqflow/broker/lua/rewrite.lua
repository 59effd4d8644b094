-- Clear task instances (they run again), or mark them with a state; what was only derived from them is judged anew.
--
-- ARGV 1  request id   ARGV 2  JSON: caller, run, indices, state ('pending' clears), by, retries {index: retries allowed after a clear}, version and
--         rows {index: row (JSON)} of cleared tasks that follow another version from now on, which keep_version brought (absent: none),
--         stops (a clear stops what runs, which runs again when it has ended)
-- Returns JSON {refused: [indices that a clear cannot touch: running tasks, and all of a run that is being cancelled], unfinished: […]}.
-- A running task that is marked is stopped first and gets its state when it ends.
local request = cjson.decode(ARGV[2])
local before = repeated(request.caller, ARGV[1])
if before then return before end

local run = get_run(request.run)
if not run then return finish_call(request.caller, ARGV[1], {refused = {}, unfinished = {}}) end
local refused_list, target = {}, request.state

for _, index in ipairs(request.indices) do
  local task = get_task(run, index)
  local row = get_row(run, index)
  if task.s == 'running' then
    if target == 'pending' and (run.cancel or not request.stops) then
      refused_list[#refused_list + 1] = index
    elseif target == 'pending' then
      task.mk, task.m = 'pending', task.t + 1 + (request.retries[tostring(index)] or 0)
      task.z = 'cleared by ' .. request.by
      touch(task)
      redis.call('PUBLISH', K.HINT .. task.w, task.e)
    else
      task.mk = target
      task.z = 'marked ' .. target .. ' by ' .. request.by
      touch(task)
      redis.call('PUBLISH', K.HINT .. task.w, task.e)
    end
  elseif target == 'pending' and run.cancel and run.state == 'running' then
    refused_list[#refused_list + 1] = index
  elseif task.s ~= 'removed' and (target == 'pending' or task.s ~= target) then
    local was_terminal = TERMINAL[task.s]
    leave_waiting(task, row)
    local skipped_by_it = task.k
    task.k, task.dv, task.n, task.q, task.y, task.mk = nil, nil, nil, nil, nil, nil
    if target == 'pending' then
      -- The try that it names has begun, and keeps its place in the history.
      if task.e then task.t = task.t + 1 end
      task.m = task.t + (request.retries[tostring(index)] or 0)
      task.z = 'cleared by ' .. request.by
      local text = request.rows and request.rows[tostring(index)]
      if text then row = follow_version(task, row, request.version, text) end
      if task.s ~= 'pending' then set_state(task, 'pending') end
      call.evaluate[task.ref] = task
    else
      task.o = nil
      task.z, task.d = 'marked ' .. target .. ' by ' .. request.by, digits(call.now)
      set_state(task, target)
    end
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
return finish_call(request.caller, ARGV[1], {refused = refused_list, unfinished = unfinished_runs()})
