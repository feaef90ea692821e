-- What every script begins with: the time of this server, and news of what is used (heard.rs).
-- KEYS[1]: the generation, KEYS[2]: what was published when, KEYS[3]: what it was, KEYS[4]: how many calls have changed something.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function int(number)
  return string.format('%.0f', number)
end

-- When a generation was made (0: it does not say).
local function made_at(generation)
  return tonumber(string.match(generation, '@(%d+)$') or 0)
end

-- Counts this call. Whoever knows of more has a store before him that was taken back (beat.lua).
local function count()
  return redis.call('INCR', KEYS[4])
end

-- What all keys have in front, and their names without it.
local PREFIX = string.sub(KEYS[1], 1, #KEYS[1] - #'generation')
local function name_of(key)
  return string.sub(key, #PREFIX + 1)
end

-- So long what a call has taken of budgets is known by its name, or that it was taken back, in ms: by then it has come, or never will.
local CALL_MS = 60000

-- True if a use has passed a further sixteenth of its limit since it was published, or has fallen by two.
local function has_moved(used, told, limit)
  local part, before = math.ceil(used * 16 / limit), math.ceil(told * 16 / limit)
  return part > before or part < before - 1
end

-- The others hear of it with their next heartbeat.
local function publish(key, used)
  redis.call('ZADD', KEYS[2], int(now), name_of(key))
  redis.call('HSET', KEYS[3], name_of(key), int(used))
end

