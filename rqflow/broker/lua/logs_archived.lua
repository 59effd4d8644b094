-- Say how far logs are archived, and drop from the stream what is.
--
-- KEYS[1]  the stream                    KEYS[2]  what the keys of executions begin with
-- ARGV[1]  the oldest id that stays
-- ARGV[2]  seconds for which Redis remembers a log of which somebody will ask, ARGV[3] one of which nobody will
-- ARGV[4…] for each execution its id, the offset, and '1' when nobody will ask
-- All or nothing: what is dropped and not said to be archived, its sender would wait for in vain.
for at = 4, #ARGV, 3 do
  local key = KEYS[2] .. ARGV[at]
  redis.call('HSET', key, 'o', ARGV[at + 1])
  redis.call('EXPIRE', key, ARGV[at + 2] == '1' and ARGV[3] or ARGV[2])
end
redis.call('XTRIM', KEYS[1], 'MINID', ARGV[1])
