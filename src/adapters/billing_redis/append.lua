-- Append consecutive messages of tenants of one shard to their logs and announce those that were accepted.
--
-- KEYS[1] the shard's live stream; then the log of each tenant, entry ids <number>-0.
-- ARGV    log length, live length (0: announce nothing), context of the trace ('': none), seconds that a log is kept after it
--         was last written; then for each tenant: its id, the number of messages, and for each message: number, type, event
--         id, instant, payload.
-- Returns for each tenant the number of the last message in its log, 0 when there is none.
--
-- The live stream's ids are the server's own (*): they keep growing across a flush, so a reader's position stays valid.
-- No message is announced twice, even so: only a message that the log accepted just now is announced.
local function number_of(id)
  return tonumber(string.match(id, '^%d+'))
end

-- The number that XADD compares with. It survives the deletion of entries, but a server lists all about a log with it.
local function last_generated(log)
  local info = redis.call('XINFO', 'STREAM', log)
  for i = 1, #info, 2 do
    if info[i] == 'last-generated-id' then
      return number_of(info[i + 1])
    end
  end
end

local heads, at, announced = {}, 5, ARGV[2] ~= '0'
-- Only the live stream has the context: what is read from a log later is no longer part of the trace.
local trace = ARGV[3] == '' and {} or {'trace', ARGV[3]}
for tenant = 2, #KEYS do
  local log, name, count = KEYS[tenant], ARGV[at], tonumber(ARGV[at + 1])
  local head = 0
  local last = redis.call('XREVRANGE', log, '+', '-', 'COUNT', 1)[1]
  local empty = not last and redis.call('EXISTS', log) == 0
  if not empty then
    head = last and number_of(last[1]) or last_generated(log)
  end
  at = at + 2
  for i = at, at + 5 * (count - 1), 5 do
    local number = tonumber(ARGV[i])
    if empty or number == head + 1 then
      local kind, event, instant, payload = ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
      local added = redis.pcall('XADD', log, 'MAXLEN', '~', ARGV[1], ARGV[i] .. '-0',
        'type', kind, 'event', event, 'at', instant, 'payload', payload)
      if type(added) == 'table' and added.err then
        head = last_generated(log)
        if head < number then
          return added
        end
      else
        if announced then
          redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[2], '*',
            'tenant', name, 'number', ARGV[i], 'type', kind, 'event', event, 'at', instant, 'payload', payload, unpack(trace))
        end
        head, empty = number, false
      end
    elseif number > head then
      break
    end
  end
  redis.call('EXPIRE', log, ARGV[4])
  at = at + 5 * count
  heads[tenant - 1] = head
end
if announced then
  redis.call('EXPIRE', KEYS[1], ARGV[4])
end
return heads
