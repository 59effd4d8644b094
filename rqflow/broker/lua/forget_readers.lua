-- Remove readers of the event stream that are silent for long and hold nothing.
--
-- KEYS[1]  the stream, which has the consumer group
-- ARGV[1]  the group
-- ARGV[2]  milliseconds of silence
-- Result   how many were removed
-- One step, because a reader that is given an entry between look and removal would lose it.
local removed = 0
for _, raw in ipairs(redis.call('XINFO', 'CONSUMERS', KEYS[1], ARGV[1])) do
    local reader = {}
    for at = 1, #raw, 2 do reader[raw[at]] = raw[at + 1] end
    if reader.pending == 0 and reader.idle >= tonumber(ARGV[2]) then
        redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], reader.name)
        removed = removed + 1
    end
end
return removed
