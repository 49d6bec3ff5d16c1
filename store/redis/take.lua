-- Returns and deletes all records, or none. KEYS: for each its record, the index
-- and the bytes of its kind. ARGV: now, then each id.
-- Answers {1, id, value, id, value, ...}, {0} when any is missing or has
-- expired, {-1, id found} when a record is not what its key says.
local now, out = tonumber(ARGV[1]), {1}
local sizes = {}
for i = 1, #ARGV - 1 do
  local r = redis.call('HMGET', KEYS[3 * i - 2], 'id', 't', 'n', 'd')
  if not r[1] or not r[2] or tonumber(r[2]) <= now then
    return {0}
  end
  if r[1] ~= ARGV[i + 1] then
    return {-1, r[1]}
  end
  sizes[i] = r[3]
  out[#out + 1] = r[1]
  out[#out + 1] = r[4]
end
for i, size in ipairs(sizes) do
  redis.call('DEL', KEYS[3 * i - 2])
  if redis.call('ZREM', KEYS[3 * i - 1], ARGV[i + 1] .. ':' .. size) == 1 then
    redis.call('DECRBY', KEYS[3 * i], size)
  end
end
return out
