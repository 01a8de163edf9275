-- Append consecutive messages of one tenant to its log and announce those that were taken.
--
-- KEYS[1] the tenant's log, entry ids <number>-0; KEYS[2] the live stream of its shard.
-- ARGV    log length, live length, tenant, then of each message: number, type, event id, instant, payload.
-- Returns the number of the last message in the log, 0 when there is none.
--
-- The live stream's ids are the server's own (*): they keep growing across a flush, so a reader's position stays good.
-- Nothing can be announced twice all the same: only a message that the log took just now is announced.
local head, empty = 0, true
if redis.call('EXISTS', KEYS[1]) == 1 then
  -- Not the last entry: this id survives trimming, and it is the one XADD compares with.
  local info = redis.call('XINFO', 'STREAM', KEYS[1])
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      head, empty = tonumber(string.match(info[i + 1], '^%d+')), false
    end
  end
end
for i = 4, #ARGV, 5 do
  local number = tonumber(ARGV[i])
  if empty or number == head + 1 then
    local kind, event, instant, payload = ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
    redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], ARGV[i] .. '-0',
      'type', kind, 'event', event, 'at', instant, 'payload', payload)
    redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[2], '*',
      'tenant', ARGV[3], 'number', ARGV[i], 'type', kind, 'event', event, 'at', instant, 'payload', payload)
    head, empty = number, false
  elseif number > head then
    break
  end
end
return head
