-- Count one more stream of a tenant, if its rate and the number of its open streams allow it.
--
-- KEYS    the tenant's rate: the instant up to which its allowance is used; its open streams, by the end of their lease;
--         the processes of its hash tag, by the end of their life.
-- ARGV    opened per minute (0: any number), open at a time (0: any number), lease in ms, the stream's name, which begins
--         with its process and a slash; the process, its life in ms.
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
  redis.call('ZADD', KEYS[3], now + ARGV[6], ARGV[5])
  redis.call('PEXPIRE', KEYS[3], 2 * ARGV[6])
  if redis.call('ZCARD', KEYS[2]) >= concurrent then
    -- Places of a process that is gone are free at once; those of one that may be gone, when its life ends.
    local ends = tonumber(redis.call('ZRANGE', KEYS[2], 0, 0, 'WITHSCORES')[2])
    local names, lives = redis.call('ZRANGE', KEYS[2], 0, -1), {}
    for i = 1, #names do
      local process = string.match(names[i], '^(.-)/')
      if process then
        lives[process] = lives[process] or tonumber(redis.call('ZSCORE', KEYS[3], process) or 0)
        if lives[process] <= now then
          redis.call('ZREM', KEYS[2], names[i])
        elseif process ~= ARGV[5] then
          ends = math.min(ends, lives[process])
        end
      end
    end
    if redis.call('ZCARD', KEYS[2]) >= concurrent then
      return {2, math.ceil(ends - now)}
    end
  end
  redis.call('ZADD', KEYS[2], now + lease, ARGV[4])
  redis.call('PEXPIRE', KEYS[2], lease)
end
if rate > 0 then
  redis.call('SET', KEYS[1], string.format('%.3f', used), 'PX', math.ceil(used - now))
end
return {0}
