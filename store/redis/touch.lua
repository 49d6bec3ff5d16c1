-- Sets one field if the session exists. KEYS: session. ARGV: last seen.
-- A plain HSET would bring a deleted session back, without owner and end (C6).
if redis.call('HEXISTS', KEYS[1], 'd') == 0 then
  return 0
end
-- Another node may have written a later use already.
local seen = tonumber(redis.call('HGET', KEYS[1], 'seen'))
if seen and seen >= tonumber(ARGV[1]) then
  return 0
end
redis.call('HSET', KEYS[1], 'seen', ARGV[1])
return 1
