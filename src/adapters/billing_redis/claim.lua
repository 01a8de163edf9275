-- Claim the backfill of the bus, or renew the claim.
--
-- KEYS[1] the holder of the claim. ARGV name, lease in ms. Returns the holder's name; "done" once the bus is filled.
local holder = redis.call('GET', KEYS[1])
if not holder or holder == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return ARGV[1]
end
return holder
