-- The heartbeat of an instance.
-- KEYS: the four of head.lua, the instances, since when all that was published is kept, the instances that have much to tell,
--   until when all is known of instances, by the names that outlive them
-- ARGV: this instance, a new generation, after how many ms an instance is dead, since when it wants to hear, how much at most,
--   whether it has much to tell itself (1), its name that outlives it, until when the store knows all of it (0: not told), in which
--   generation, and of how many calls it knows
-- Reply: {now, living instances, generation, {{name, used, when}, ...}, since when all is kept, others with much to tell, until when all of this one
--   was known before, calls}; the oldest news first.
-- A store that has lost its data has no generation: the first to notice makes one. One that was taken back, to a snapshot or to what a
-- replica had of it, knows of fewer calls than it has said, or an older generation: what it counts then is out of date, and one is
-- made whose meters have names of their own (generation.rs).
local KEPT, KEPT_MS, AT_ONCE, TELLS_MS, LIVES_MS = 200000, 32 * 86400000, 1000, 1000, 70 * 86400000
-- An instance may be down for long, and budgets last a month: one that is not known any more would tell its part again.
local lifetime = tonumber(ARGV[3])
local generation = redis.call('GET', KEYS[1])
local calls = count()

local function was_taken_back()
  if generation == ARGV[9] then return calls <= tonumber(ARGV[10]) end
  return made_at(ARGV[9]) > made_at(generation)
end

if not generation or was_taken_back() then
  local names = generation and '~' or ''
  if generation then redis.call('DEL', KEYS[2], KEYS[3], KEYS[6], KEYS[7], KEYS[8]) end
  generation = names .. ARGV[2] .. '@' .. int(now)
  redis.call('SET', KEYS[1], generation)
end
redis.call('ZADD', KEYS[5], int(now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[5], '-inf', int(now - lifetime))

redis.call('ZREM', KEYS[7], ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[7], '-inf', int(now - TELLS_MS))
local others = redis.call('ZCARD', KEYS[7])
if ARGV[6] == '1' then redis.call('ZADD', KEYS[7], int(now), ARGV[1]) end

local known = redis.call('ZSCORE', KEYS[8], ARGV[7])
if ARGV[7] ~= '' and ARGV[8] ~= '0' and ARGV[9] == generation then redis.call('ZADD', KEYS[8], ARGV[8], ARGV[7]) end
redis.call('ZREMRANGEBYSCORE', KEYS[8], '-inf', int(now - LIVES_MS))

local surplus = redis.call('ZCARD', KEYS[2]) - KEPT
local old = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', int(now - KEPT_MS), 'LIMIT', 0, AT_ONCE)
if surplus > #old then
  old = redis.call('ZRANGE', KEYS[2], 0, math.min(surplus, AT_ONCE) - 1)
  redis.call('SET', KEYS[6], redis.call('ZSCORE', KEYS[2], old[#old]))
end
if #old > 0 then
  redis.call('ZREM', KEYS[2], unpack(old))
  redis.call('HDEL', KEYS[3], unpack(old))
end

local news = {}
local found = redis.call('ZRANGEBYSCORE', KEYS[2], ARGV[4], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[5])
local names = {}
for at = 1, #found, 2 do
  names[#names + 1] = found[at]
end
if #names > 0 then
  local used = redis.call('HMGET', KEYS[3], unpack(names))
  for at, name in ipairs(names) do
    news[at] = { name, tonumber(used[at]) or 0, tonumber(found[2 * at]) }
  end
end
for _, key in ipairs({ KEYS[2], KEYS[3], KEYS[6] }) do
  redis.call('PEXPIRE', key, int(KEPT_MS))
end
return { now, redis.call('ZCARD', KEYS[5]), generation, news, tonumber(redis.call('GET', KEYS[6]) or 0), others, tonumber(known) or 0, calls }
