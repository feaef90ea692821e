-- Corrects meters. A bare HINCRBY would not do: it would bring an aged-out slot back, with a negative amount.
-- What was admitted elsewhere meanwhile is published, as in reserve.lua: how much of its limit it is, is not known here.
-- KEYS: the generation, what was published when, and what it was, then one meter per correction.
-- ARGV, per correction: kind, place, delta, create (1: the place may be new), a, b
--   w, p: as in reserve.lua     h: holds the id `place` for a lease of b ms     r: releases the id `place`
local PER_CORRECTION, FIRST = 6, 4
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function int(number)
  return string.format('%.0f', number)
end

local function publish(key, used)
  local name = string.sub(key, #KEYS[1] - #'generation' + 1)
  redis.call('ZADD', KEYS[2], int(now), name)
  redis.call('HSET', KEYS[3], name, int(used))
end

local function settle_window(key, slot, delta, create, width, life)
  local gone = (slot + 1) * width - 1 + life
  if gone <= now then return end
  local field = int(slot)
  local have = tonumber(redis.call('HGET', key, field))
  if not have and not (create and delta > 0) then return end
  local settled = math.max((have or 0) + delta, 0)
  redis.call('HSET', key, field, int(settled))
  redis.call('HINCRBY', key, 's', int(settled - (have or 0)))
  if not have then
    local head = redis.call('HMGET', key, 'f', 'l')
    local first = math.min(tonumber(head[1]) or slot, slot)
    local last = math.max(tonumber(head[2]) or slot, slot)
    redis.call('HSET', key, 'f', int(first), 'l', int(last))
    redis.call('PEXPIRE', key, int((last + 1) * width + life - now + 1000))
  end
  if create and delta > 0 then publish(key, redis.call('HGET', key, 's')) end
end

local function settle_period(key, delta, create, last)
  local have = tonumber(redis.call('GET', key))
  if not have and not (create and delta > 0) then return end
  local settled = math.max((have or 0) + delta, 0)
  redis.call('SET', key, int(settled))
  redis.call('PEXPIREAT', key, int(last + 86400000))
  if create and delta > 0 then publish(key, settled) end
end

for at = FIRST, #KEYS do
  local key, base = KEYS[at], (at - FIRST) * PER_CORRECTION
  local kind, place, delta = ARGV[base + 1], ARGV[base + 2], tonumber(ARGV[base + 3])
  local create, a, b = ARGV[base + 4] == '1', tonumber(ARGV[base + 5]), tonumber(ARGV[base + 6])
  if kind == 'w' then
    settle_window(key, tonumber(place), delta, create, a, b)
  elseif kind == 'p' then
    settle_period(key, delta, create, b)
  elseif kind == 'h' then
    redis.call('ZADD', key, int(now + b), place)
    redis.call('PEXPIRE', key, int(b))
    publish(key, redis.call('ZCARD', key))
  else
    redis.call('ZREM', key, place)
  end
end
return now
