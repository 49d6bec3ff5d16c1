-- Tries every command that this package runs, on keys of its own, so that what
-- an ACL forbids is known at the start and not at somebody's sign-in.
-- KEYS: hash, zset, string. ARGV: channel.
-- Answers {command, error, command, error, ...}.
local failed = {}
local function try(name, ...)
  local r = redis.pcall(name, ...)
  if type(r) == 'table' and r.err then
    failed[#failed + 1] = name
    failed[#failed + 1] = r.err
  end
end
local hash, zset, str = KEYS[1], KEYS[2], KEYS[3]
try('EXISTS', hash)
try('HSET', hash, 'f', '1')
try('HGET', hash, 'f')
try('HMGET', hash, 'f')
try('HEXISTS', hash, 'f')
try('PEXPIRE', hash, '1000')
try('PTTL', hash)
try('ZADD', zset, '1', 'm')
redis.pcall('PEXPIRE', zset, '1000')
try('ZCARD', zset)
try('ZSCORE', zset, 'm')
try('ZSCAN', zset, '0')
try('ZRANGEBYSCORE', zset, '0', '1')
try('ZREVRANGEBYSCORE', zset, '1', '0')
try('ZREMRANGEBYSCORE', zset, '5', '6')
try('ZREM', zset, 'm')
try('SET', str, '1', 'PX', '1000')
try('GET', str)
try('INCRBY', str, '1')
try('DECRBY', str, '1')
try('DEL', hash, zset, str)
try('TIME')
try('PUBLISH', ARGV[1], '')
return failed
