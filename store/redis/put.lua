-- Writes a pending record within the budget of its kind.
-- KEYS: record, index of the kind, bytes of the kind.
-- ARGV: id, value, bytes, end, now, life in ms, most records, most bytes, once (0 or 1).
-- Answers {1, id} written, {2, id} used already, {3, id} budget spent. The id
-- tells the caller that the answer is his: a swapped one must not pass a replay.
local rec, idx, sum = KEYS[1], KEYS[2], KEYS[3]
local id, size, now = ARGV[1], tonumber(ARGV[3]), tonumber(ARGV[5])

local old = redis.call('HMGET', rec, 't', 'n')
if ARGV[9] == '1' and old[1] and tonumber(old[1]) > now then
  return {2, id}
end

-- Forget what has expired, so that it no longer counts. Every entry is
-- forgotten once: the work is bounded by the writes that were let in.
while true do
  local dead = redis.call('ZRANGEBYSCORE', idx, '-inf', ARGV[5], 'LIMIT', 0, 500)
  if #dead == 0 then
    break
  end
  local freed = 0
  for _, entry in ipairs(dead) do
    freed = freed + tonumber(string.match(entry, ':(%d+)$'))
  end
  redis.call('ZREM', idx, unpack(dead))
  redis.call('DECRBY', sum, freed)
end
if redis.call('ZCARD', idx) == 0 then
  redis.call('DEL', sum) -- whatever an administrator's DEL left askew
end

local count = redis.call('ZCARD', idx)
local bytes = tonumber(redis.call('GET', sum) or '0')
local mine = old[2] and (id .. ':' .. old[2])
if mine and not redis.call('ZSCORE', idx, mine) then
  mine = nil -- it had expired and was forgotten above
end
if mine then
  count = count - 1
  bytes = bytes - tonumber(old[2])
end
if count + 1 > tonumber(ARGV[7]) or bytes + size > tonumber(ARGV[8]) then
  return {3, id}
end
if mine then
  redis.call('ZREM', idx, mine)
  redis.call('DECRBY', sum, old[2])
end
redis.call('HSET', rec, 'id', id, 't', ARGV[4], 'n', ARGV[3], 'd', ARGV[2])
redis.call('PEXPIRE', rec, ARGV[6])
redis.call('ZADD', idx, ARGV[4], id .. ':' .. ARGV[3])
redis.call('INCRBY', sum, size)
return {1, id}
