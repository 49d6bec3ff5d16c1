-- Takes the mark of whose server this is, if it is free. KEYS: mark. ARGV: id.
-- Answers the id that holds it. (SET with NX and GET together needs 7.0.)
local holder = redis.call('GET', KEYS[1])
if holder then
  return holder
end
redis.call('SET', KEYS[1], ARGV[1])
return ARGV[1]
