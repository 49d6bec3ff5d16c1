-- Deletes a session. KEYS: session, copy.
-- Answers its member, so that the index can forget it, or ''.
local member = redis.call('HGET', KEYS[1], 'm')
redis.call('DEL', KEYS[1], KEYS[2])
return member or ''
