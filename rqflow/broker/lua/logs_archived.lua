-- Say how far logs are archived, and drop from the stream what is.
--
-- KEYS[1]  the stream                    KEYS[2]  what the keys of executions begin with
-- ARGV[1]  the oldest id that stays
-- ARGV[2]  seconds for which Redis remembers a log of which somebody will ask, ARGV[3] one of which nobody will
-- ARGV[4…] for each execution its id, the offset, and 'w' when its last piece is archived too, 's' when besides nobody will ask, or ''
-- A key has the offset (o), and marks (w, s) that stay: pieces that come once more take nothing back.
-- All or nothing: what is dropped and not said to be archived, its sender would wait for in vain.
for at = 4, #ARGV, 3 do
  local key, mark = KEYS[2] .. ARGV[at], ARGV[at + 2]
  redis.call('HSET', key, 'o', ARGV[at + 1])
  if mark ~= '' then redis.call('HSET', key, mark, '1', 'w', '1') end
  redis.call('EXPIRE', key, ARGV[redis.call('HEXISTS', key, 's') == 1 and 3 or 2])
end
redis.call('XTRIM', KEYS[1], 'MINID', ARGV[1])
