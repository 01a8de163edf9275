-- Replace the whole log of one tenant by consecutive messages. Nothing is announced.
--
-- KEYS[1] the tenant's log, entry ids <number>-0.
-- ARGV    log length, seconds that a log is kept after it was last written; then for each message: number, type, event id,
--         instant, payload.
-- Returns the number of entries.
redis.call('DEL', KEYS[1])
for i = 3, #ARGV, 5 do
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], ARGV[i] .. '-0',
    'type', ARGV[i + 1], 'event', ARGV[i + 2], 'at', ARGV[i + 3], 'payload', ARGV[i + 4])
end
redis.call('EXPIRE', KEYS[1], ARGV[2])
return (#ARGV - 2) / 5
