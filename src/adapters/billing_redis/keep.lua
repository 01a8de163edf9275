-- Confirm that streams of a tenant are still open.
--
-- KEYS[1] its open streams, by the end of their lease. ARGV lease in ms; then the streams' names.
local time = redis.call('TIME')
local ends = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
for i = 2, #ARGV do
  redis.call('ZADD', KEYS[1], ends, ARGV[i])
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return {}
