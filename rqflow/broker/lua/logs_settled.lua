-- Let Redis forget soon how far logs are archived.
--
-- KEYS[1]  what the keys of executions begin with
-- ARGV[1]  seconds until then
-- ARGV[2…] ids of executions
for at = 2, #ARGV do redis.call('EXPIRE', KEYS[1] .. ARGV[at], ARGV[1]) end
