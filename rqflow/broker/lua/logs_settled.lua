-- Let Redis forget soon how far logs are archived.
--
-- KEYS[1]  what the keys of executions begin with
-- ARGV[1]  seconds until then
-- ARGV[2…] ids of executions
-- What Redis does not remember stays so. The mark (s) is for pieces that come once more: they do not put it off.
for at = 2, #ARGV do
  local key = KEYS[1] .. ARGV[at]
  if redis.call('EXPIRE', key, ARGV[1]) == 1 then redis.call('HSET', key, 's', '1') end
end
