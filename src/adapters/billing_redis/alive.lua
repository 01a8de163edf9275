-- Show that a server process is alive, to the tenants of one hash tag whose streams it serves.
--
-- KEYS[1] processes by the end of their life. ARGV process, life in ms.
local time = redis.call('TIME')
redis.call('ZADD', KEYS[1], time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], 2 * ARGV[2])
return {}
