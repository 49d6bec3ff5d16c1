-- Adds a session to its member's index. KEYS: index. ARGV: session, absolute end, now, life in ms.
-- The index forgets what has ended, and lives as long as its longest session.
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[3])
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
if redis.call('PTTL', KEYS[1]) < tonumber(ARGV[4]) then
  redis.call('PEXPIRE', KEYS[1], ARGV[4])
end
return 1
