-- Adds a session. KEYS: session, copy. ARGV: record, member, epoch, last seen, life in ms, life of the copy or 0.
-- Answers 1, or 0 when the id exists already: an id is never taken over (K01).
if redis.call('EXISTS', KEYS[1]) == 1 then
  return 0
end
redis.call('HSET', KEYS[1], 'd', ARGV[1], 'm', ARGV[2], 'e', ARGV[3], 'seen', ARGV[4])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
-- The copy outlives the session, and admits nobody.
if tonumber(ARGV[6]) > 0 then
  redis.call('HSET', KEYS[2], 'd', ARGV[1], 'm', ARGV[2], 'e', ARGV[3], 'seen', ARGV[4])
  redis.call('PEXPIRE', KEYS[2], ARGV[6])
end
return 1
