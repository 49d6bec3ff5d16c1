-- Adds a session. KEYS: session. ARGV: record, member, epoch, last seen, life in ms.
-- Answers 1, or 0 when the id exists already: an id is never taken over (K01).
if redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
redis.call('HSET', KEYS[1], 'd', ARGV[1], 'm', ARGV[2], 'e', ARGV[3], 'seen', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
return 1
