-- Replace the whole log of one tenant by consecutive messages, and take what is announced of it out of the live stream, where
-- messages would stay that were withdrawn or erased. Nothing is announced: followers that miss a message read the history.
--
-- KEYS[1] the tenant's log, entry ids <number>-0; KEYS[2] the shard's live stream.
-- ARGV    log length, seconds that a log is kept after it was last written, the tenant's id; then for each message: number,
--         type, event id, instant, payload.
-- Returns the number of entries.
redis.call('DEL', KEYS[1])
for _, entry in ipairs(redis.call('XRANGE', KEYS[2], '-', '+')) do
  local fields = entry[2]
  for i = 1, #fields, 2 do
    if fields[i] == 'tenant' and fields[i + 1] == ARGV[3] then
      redis.call('XDEL', KEYS[2], entry[1])
    end
  end
end
for i = 4, #ARGV, 5 do
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], ARGV[i] .. '-0',
    'type', ARGV[i + 1], 'event', ARGV[i + 2], 'at', ARGV[i + 3], 'payload', ARGV[i + 4])
end
redis.call('EXPIRE', KEYS[1], ARGV[2])
return (#ARGV - 3) / 5
