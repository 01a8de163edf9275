-- Count one more call to the provider, if the rates and the number of calls in flight have room for it.
--
-- KEYS    the bucket of all calls, the endpoint's bucket, the endpoint's calls in flight by the end of their lease, the
--         halvings of all calls, those of the endpoint.
-- ARGV    calls per second of all, of the endpoint, in flight at a time, lease in ms, 1 for a background call, its name.
-- Returns {0} when the call is admitted; {1, ms}, {2, ms} or {3, ms} when all calls', the endpoint's rate or the calls
--         in flight have no room, with the time after which to try again.
--
-- Time is this server's own, so that processes whose clocks differ count alike.
local time = redis.call('TIME')
local now = time[1] * 1000 + time[2] / 1000
local background = ARGV[5] == '1'

local function factor(key)
  return 0.5 ^ math.min(3, tonumber(redis.call('GET', key) or 0))
end

-- The number of calls that may begin, which grows with time up to the burst, and the ms until one more may.
local function bucket(key, rate)
  local burst = math.max(2, rate / 4)
  local kept = redis.call('HMGET', key, 'level', 'at')
  local level = burst
  if kept[1] then
    level = math.min(burst, kept[1] + math.max(0, now - kept[2]) * rate / 1000)
  end
  local needed = background and 1 + burst / 2 or 1
  return level, math.max(0, needed - level) * 1000 / rate, math.ceil(burst * 1000 / rate)
end

local slowed = factor(KEYS[5])
local most = math.max(1, math.floor(ARGV[3] * slowed))
if background then
  most = math.max(1, math.floor(most / 2))
end
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', now)
if redis.call('ZCARD', KEYS[3]) >= most then
  return {3, 50}
end
local own, own_wait, own_life = bucket(KEYS[2], ARGV[2] * slowed)
if own_wait > 0 then
  return {2, math.ceil(own_wait)}
end
local all, wait, life = bucket(KEYS[1], ARGV[1] * factor(KEYS[4]))
if wait > 0 then
  return {1, math.ceil(wait)}
end
local at = string.format('%.3f', now)
redis.call('HSET', KEYS[1], 'level', string.format('%.6f', all - 1), 'at', at)
redis.call('PEXPIRE', KEYS[1], life)
redis.call('HSET', KEYS[2], 'level', string.format('%.6f', own - 1), 'at', at)
redis.call('PEXPIRE', KEYS[2], own_life)
redis.call('ZADD', KEYS[3], now + ARGV[4], ARGV[6])
redis.call('PEXPIRE', KEYS[3], ARGV[4])
return {0}
