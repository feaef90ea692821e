-- Charges all meters of one request or none, by the clock of this server.
-- KEYS: the four of head.lua, a name of this call, then one meter per charge.
-- ARGV: the generation the caller knows, then per charge:
--   kind (w window, p period, o open), amount, least, limit (-1: none), dimension, a, b
--   w: a = slot width in ms, b = life in ms     p: a = nothing, b = end of the period in ms
--   o: a = id of the request, b = lease in ms
-- Reply: {0, now, used, retry_ms (-1: fits), reset_ms, ...}   refused, nothing charged
--        {1, now, calls, granted, used, reset_ms, place, ...}  charged
--        {2, now}                                              data was lost: another generation
local PER_CHARGE, FIRST = 7, 6
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return { 2, now }
end

local function gone_at(charge, slot)
  return (slot + 1) * charge.a - 1 + charge.b
end

-- The slots of a ring from the first to the last, and what is in them.
local function amounts(key, first, last)
  local names = {}
  if last - first < 1000 then
    for slot = first, last do
      names[#names + 1] = int(slot)
    end
  else
    -- A clock was set: of so many slots few are there.
    for _, name in ipairs(redis.call('HKEYS', key)) do
      local slot = tonumber(name)
      if slot and slot >= first and slot <= last then names[#names + 1] = name end
    end
    table.sort(names, function(one, other) return tonumber(one) < tonumber(other) end)
  end
  if #names == 0 then return names, {} end
  return names, redis.call('HMGET', key, unpack(names))
end

-- What lies so many slots ahead that this server's clock was set back counts as admitted now: it was not later (ring.rs).
local AHEAD = 120
local function hold_back(charge)
  local ahead = charge.last and charge.last - math.floor(now / charge.a) or 0
  if ahead <= AHEAD then return end
  local names, values = amounts(charge.key, charge.first, charge.last)
  local moved = {}
  for at = 1, #names do
    if values[at] then
      moved[#moved + 1] = int(tonumber(names[at]) - ahead)
      moved[#moved + 1] = values[at]
    end
  end
  redis.call('HDEL', charge.key, unpack(names))
  charge.first, charge.last, charge.told_in = charge.first - ahead, charge.last - ahead, charge.last - ahead
  redis.call('HSET', charge.key, 'f', int(charge.first), 'l', int(charge.last), 'p', int(charge.last), unpack(moved))
end

-- A ring is a hash: slot -> amount, f and l = first and last slot, s = sum; what was published last: q = the sum, m = the limit, p = the slot.
local function look_window(charge)
  local head = redis.call('HMGET', charge.key, 'f', 'l', 's', 'p', 'q')
  charge.first, charge.last = tonumber(head[1]), tonumber(head[2])
  charge.used = tonumber(head[3]) or 0
  charge.told_in, charge.told = tonumber(head[4]) or 0, tonumber(head[5]) or 0
  hold_back(charge)
  local live = math.floor((now + 1 - charge.b) / charge.a)
  if not charge.last or charge.last < live then
    if charge.last then redis.call('DEL', charge.key) end
    charge.first, charge.last, charge.used = nil, nil, 0
  elseif charge.first < live then
    local names, values = amounts(charge.key, charge.first, live - 1)
    for at = 1, #names do
      charge.used = charge.used - (tonumber(values[at]) or 0)
    end
    if #names > 0 then redis.call('HDEL', charge.key, unpack(names)) end
    charge.first = live
    redis.call('HSET', charge.key, 'f', int(live), 's', int(charge.used))
  end
  charge.reset = charge.last and gone_at(charge, charge.last) - now or 0
end

local function window_frees(charge, needed)
  local names, values = amounts(charge.key, charge.first or 0, charge.last or -1)
  for at = 1, #names do
    needed = needed - (tonumber(values[at]) or 0)
    if needed <= 0 then return gone_at(charge, tonumber(names[at])) - now end
  end
  return charge.reset
end

local charges = {}
for at = FIRST, #KEYS do
  local base = 1 + (at - FIRST) * PER_CHARGE
  local charge = {
    key = KEYS[at], kind = ARGV[base + 1], amount = tonumber(ARGV[base + 2]), least = tonumber(ARGV[base + 3]),
    limit = tonumber(ARGV[base + 4]), dimension = ARGV[base + 5], a = ARGV[base + 6], b = tonumber(ARGV[base + 7]),
  }
  if charge.kind == 'w' then
    charge.a = tonumber(charge.a)
    look_window(charge)
  elseif charge.kind == 'p' then
    charge.used = tonumber(redis.call('GET', charge.key)) or 0
    charge.reset = math.max(charge.b - now, 0)
  else
    redis.call('ZREMRANGEBYSCORE', charge.key, '-inf', int(now))
    charge.used = redis.call('ZCARD', charge.key)
    charge.reset = 0
  end
  charge.free = charge.limit < 0 and math.huge or math.max(charge.limit - charge.used, 0)
  charges[at - FIRST + 1] = charge
end

local refused = false
local common = {}
for _, charge in ipairs(charges) do
  if charge.least > charge.free then refused = true end
  -- Those that take what is left are granted alike; an exact one holds nobody to its amount.
  if charge.least < charge.amount then
    local fits = math.min(charge.amount, charge.free)
    common[charge.dimension] = math.min(common[charge.dimension] or fits, fits)
  end
end

if refused then
  local reply = { 0, now }
  for _, charge in ipairs(charges) do
    local retry = -1
    if charge.least > charge.free then
      -- More may be used than the limit is: it was lowered, or the cost was more than was likely.
      local needed = charge.used + charge.least - charge.limit
      if charge.kind == 'w' then
        retry = window_frees(charge, needed)
      elseif charge.kind == 'p' then
        retry = charge.reset
      else
        retry = 1000
      end
    end
    reply[#reply + 1] = charge.used
    reply[#reply + 1] = retry
    reply[#reply + 1] = charge.reset
  end
  return reply
end

local function charge_window(charge, amount)
  local slot = math.max(math.floor(now / charge.a), charge.last or 0)
  redis.call('HINCRBY', charge.key, int(slot), int(amount))
  redis.call('HINCRBY', charge.key, 's', int(amount))
  if slot ~= charge.last then
    redis.call('HSET', charge.key, 'f', int(charge.first or slot), 'l', int(slot))
    redis.call('PEXPIRE', charge.key, int(gone_at(charge, slot) - now + 1000))
  end
  charge.reset = gone_at(charge, slot) - now
  return slot
end

-- Where the others forget what they heard with the window, use that goes on is news again.
local function is_news(charge, used, place)
  if charge.kind == 'w' then
    if (place - charge.told_in) * charge.a * 4 > charge.b then return true end
  else
    charge.told = tonumber(redis.call('HGET', KEYS[3], name_of(charge.key))) or 0
  end
  return has_moved(used, charge.told, charge.limit)
end

local function tell(charge, used, place)
  if charge.limit < 0 or used == 0 or not is_news(charge, used, place) then return end
  publish(charge.key, used)
  if charge.kind == 'w' then
    redis.call('HSET', charge.key, 'p', int(place), 'q', int(used), 'm', int(charge.limit))
  end
end

-- What a call has taken of budgets is known by its name for a while: its caller may never hear of it, and takes it back (settle.lua).
local taken = {}
for _, charge in ipairs(charges) do
  charge.granted = math.max(charge.least, math.min(charge.amount, common[charge.dimension] or charge.amount))
  if charge.kind == 'p' and charge.granted > 0 then
    taken[#taken + 1] = name_of(charge.key) .. '=' .. int(charge.granted) .. ';'
  end
end
-- Late, and taken back already.
if #taken > 0 and redis.call('EXISTS', KEYS[5]) == 1 then return { 2, now } end

local reply = { 1, now, count() }
for _, charge in ipairs(charges) do
  local amount, place = charge.granted, 0
  if charge.kind == 'w' then
    place = charge_window(charge, amount)
  elseif charge.kind == 'p' then
    redis.call('INCRBY', charge.key, int(amount))
    redis.call('PEXPIREAT', charge.key, int(charge.b + 86400000))
  elseif amount > 0 then
    redis.call('ZADD', charge.key, int(now + charge.b), charge.a)
    redis.call('PEXPIRE', charge.key, int(charge.b))
  end
  tell(charge, charge.used + amount, place)
  reply[#reply + 1] = amount
  reply[#reply + 1] = charge.used + amount
  reply[#reply + 1] = charge.reset
  reply[#reply + 1] = place
end
if #taken > 0 then redis.call('SET', KEYS[5], table.concat(taken), 'PX', CALL_MS) end
return reply
