-- Sets one field if the session exists. KEYS: session. ARGV: last seen.
-- A plain HSET would bring a deleted session back, without owner and end (C6).
if redis.call('HEXISTS', KEYS[1], 'd') == 0 then
  return 0
end
redis.call('HSET', KEYS[1], 'seen', ARGV[1])
return 1
