-- Corrects meters. A bare HINCRBY would not do: it would bring an aged-out slot back, with a negative amount.
-- What was admitted elsewhere meanwhile, and what has become much more or less, is published as in reserve.lua.
-- KEYS: the four of head.lua, what is known of instances, who tells much, then one meter per correction.
-- ARGV, per correction: kind, place, delta, create (1: the place may be new), a, b; last an instance, until when all of it is known, and
--   in which generation
--   w, p: as in reserve.lua     m: of a period, at least `delta`
--   t, c, s: of a period too, and the next key (of kind -) has whose parts of it are known. After lost data:
--     t: the instance `place` tells all it has spent     c: a ledger tells what each has (`place`: name=amount;...; create: data were lost)
--     s: at least `delta` is what all have spent; nothing while they still tell
--   u: takes back what a call of this name has taken of budgets, if it has    h: holds the id `place` for a lease of b ms     r: releases the id `place`
-- Reply: calls; -1: data were lost, another generation: nothing was corrected
local PER_CORRECTION, FIRST = 6, 7
local rest = (#KEYS - FIRST + 1) * PER_CORRECTION
local generation = redis.call('GET', KEYS[1]) or ''
-- What was settled of a store that is gone would be taken from what others have told this one.
if generation ~= ARGV[rest + 3] then return -1 end
local made = made_at(generation)

local function tell_window(key, is_new)
  local head = redis.call('HMGET', key, 's', 'q', 'm')
  local used, told, limit = tonumber(head[1]) or 0, tonumber(head[2]), tonumber(head[3])
  if is_new or (limit and has_moved(used, told, limit)) then
    publish(key, used)
    redis.call('HSET', key, 'q', int(used))
  end
end

-- Without a limit: by sixteenths of what was published.
local function tell_other(key, used, is_new)
  local told = tonumber(redis.call('HGET', KEYS[3], name_of(key))) or 0
  if is_new or (told > 0 and has_moved(used, told, told)) then publish(key, used) end
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
  tell_window(key, create and delta > 0)
end

local function set_period(key, spent, last, is_new)
  redis.call('SET', key, int(spent))
  redis.call('PEXPIREAT', key, int(last + 86400000))
  tell_other(key, spent, is_new)
end

local function settle_period(key, delta, create, last)
  local have = tonumber(redis.call('GET', key))
  if not have and not (create and delta > 0) then return end
  set_period(key, math.max((have or 0) + delta, 0), last, create and delta > 0)
end

local function raise_period(key, least, last)
  if least > (tonumber(redis.call('GET', key)) or 0) then set_period(key, least, last, true) end
end

local TELL_MS, LONGEST_MS = 2000, 20000
-- Parts: a hash of instance -> what others told of it, with a 't' in front once it has told itself; only after lost data.
local function part(parts, id)
  local known = redis.call('HGET', parts, id) or '0'
  return tonumber(string.match(known, '%d+')) or 0, string.sub(known, 1, 1) == 't'
end

local function keep_parts(parts, last)
  redis.call('PEXPIREAT', parts, int(last + 86400000))
end

-- It may tell it again: what it told was not acknowledged, or it was started again before it had told all.
local function tell_part(key, parts, id, amount, last)
  local spent, known = tonumber(redis.call('GET', key)) or 0, part(parts, id)
  set_period(key, spent + math.max(amount - known, 0), last, true)
  redis.call('HSET', parts, id, 't' .. int(math.max(amount, known)))
  keep_parts(parts, last)
end

-- Of a store that has not lost its data it is a part already. An instance that has told all has told this too.
local function claim_parts(key, parts, list, is_lost, last)
  local is_old = not is_lost and now - made > LONGEST_MS
  if is_old and redis.call('EXISTS', key) == 1 and redis.call('EXISTS', parts) == 0 then return end
  local more = 0
  for id, amount in string.gmatch(list, '([^=;]*)=(%d+);') do
    local known, is_told = part(parts, id)
    local added = tonumber(amount) - known
    if not is_told and added > 0 and not redis.call('ZSCORE', KEYS[5], id) then
      more = more + added
      redis.call('HSET', parts, id, amount)
    end
  end
  if more > 0 then
    set_period(key, (tonumber(redis.call('GET', key)) or 0) + more, last, true)
    keep_parts(parts, last)
  end
end

-- After lost data it would be added to by those who tell their parts.
local function raise_all(key, parts, least, last)
  local age = now - made
  local tells = age < TELL_MS or (age < LONGEST_MS and redis.call('ZCARD', KEYS[6]) > 0)
  if tells and redis.call('EXISTS', parts) == 1 then return end
  if redis.call('EXISTS', key) == 1 then raise_period(key, least, last) end
end

-- If the call comes later, it finds its name taken.
local function take_back(call)
  local taken = redis.call('GET', call) or ''
  redis.call('SET', call, '', 'PX', CALL_MS)
  for name, amount in string.gmatch(taken, '([^=;]*)=(%d+);') do
    -- No error must keep the rest from being told.
    local have = redis.pcall('GET', PREFIX .. name)
    local spent = type(have) == 'string' and tonumber(have)
    if spent then redis.pcall('DECRBY', PREFIX .. name, int(math.min(spent, tonumber(amount)))) end
  end
end

for at = FIRST, #KEYS do
  local key, base = KEYS[at], (at - FIRST) * PER_CORRECTION
  local kind, place, delta = ARGV[base + 1], ARGV[base + 2], tonumber(ARGV[base + 3])
  local create, a, b = ARGV[base + 4] == '1', tonumber(ARGV[base + 5]), tonumber(ARGV[base + 6])
  if kind == 'w' then
    settle_window(key, tonumber(place), delta, create, a, b)
  elseif kind == 'p' then
    settle_period(key, delta, create, b)
  elseif kind == 'm' then
    raise_period(key, delta, b)
  elseif kind == 't' then
    tell_part(key, KEYS[at + 1], place, delta, b)
  elseif kind == 'c' then
    claim_parts(key, KEYS[at + 1], place, create, b)
  elseif kind == 's' then
    raise_all(key, KEYS[at + 1], delta, b)
  elseif kind == 'u' then
    take_back(key)
  elseif kind == 'h' then
    redis.call('ZADD', key, int(now + b), place)
    redis.call('PEXPIRE', key, int(b))
    tell_other(key, redis.call('ZCARD', key), true)
  elseif kind == 'r' then
    redis.call('ZREM', key, place)
    tell_other(key, redis.call('ZCARD', key), false)
  end
end

-- With this the store knows all of an instance (its name) until then (0: not yet).
if ARGV[rest + 1] ~= '' and ARGV[rest + 2] ~= '0' then redis.call('ZADD', KEYS[5], ARGV[rest + 2], ARGV[rest + 1]) end
return count()
