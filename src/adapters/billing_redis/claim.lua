-- Take or keep the turn to fill the bus.
--
-- KEYS[1] who fills it. ARGV name, lease in ms. Returns the name of whoever has the turn; "done" stands for nobody any more.
local holder = redis.call('GET', KEYS[1])
if not holder or holder == ARGV[1] then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return ARGV[1]
end
return holder
