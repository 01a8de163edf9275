-- Count one more stream of a tenant, if its rate and the number of its open streams allow it.
--
-- KEYS    the tenant's rate: the instant up to which its allowance is used; its open streams, by the end of their lease.
-- ARGV    opened per minute (0: any number), open at a time (0: any number), lease in ms, the stream's name.
-- Returns {0} when the stream is admitted; {1, ms} when the rate and {2, ms} when the number of open streams refuses it,
--         with the earliest time to try again.
--
-- Time is this server's own, so that servers whose clocks differ count alike.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local rate, concurrent, lease = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local used
if rate > 0 then
  -- Each stream uses up 1/rate of a minute. A whole minute may be used ahead of time, which is the first burst.
  used = math.max(tonumber(redis.call('GET', KEYS[1]) or now), now) + 60000 / rate
  if used - now > 60000.5 then
    return {1, math.ceil(used - now - 60000)}
  end
end
if concurrent > 0 then
  redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', now)
  if redis.call('ZCARD', KEYS[2]) >= concurrent then
    local first = redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')
    return {2, math.ceil(first[2] - now)}
  end
  redis.call('ZADD', KEYS[2], now + lease, ARGV[4])
  redis.call('PEXPIRE', KEYS[2], lease)
end
if rate > 0 then
  redis.call('SET', KEYS[1], string.format('%.3f', used), 'PX', math.ceil(used - now))
end
return {0}
