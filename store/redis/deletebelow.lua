-- Deletes a session if it is the member's and of an epoch below (C7).
-- KEYS: session. ARGV: member, epoch. Answers 1 deleted, 0 kept, -1 absent, -2 another member's.
local r = redis.call('HMGET', KEYS[1], 'm', 'e')
if not r[1] then
  return -1
end
if r[1] ~= ARGV[1] then
  return -2
end
local epoch = tonumber(r[2])
-- A record without a readable epoch admits nobody: it goes.
if epoch and epoch >= tonumber(ARGV[2]) then
  return 0
end
redis.call('DEL', KEYS[1])
return 1
