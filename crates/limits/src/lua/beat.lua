-- The heartbeat of an instance.
-- KEYS: the generation, the instances. ARGV: this instance, a new generation, after how many ms an instance is dead
-- Reply: {now, living instances, generation}. A store that has lost its data has no generation: the first to notice makes one.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lifetime = tonumber(ARGV[3])
local generation = redis.call('GET', KEYS[1])
if not generation then
  generation = ARGV[2]
  redis.call('SET', KEYS[1], generation)
end
redis.call('ZADD', KEYS[2], string.format('%.0f', now), ARGV[1])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now - lifetime))
return { now, redis.call('ZCARD', KEYS[2]), generation }
