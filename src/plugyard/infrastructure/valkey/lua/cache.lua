-- One step of the plugins' cache. A plugin's entries are a hash of values, beside them their uses in order and their
-- ends; the plugin that has not used its cache for longest makes room for all. Whatever of a plugin a server that
-- evicts has taken, the rest of it goes as well.
-- KEYS: values, uses and ends of the plugin; for all plugins their uses, their bytes ('*' is the sum), and a counter.
-- ARGV: prefix of all names, place of the plugin, what is done, key, then what that needs.
local prefix, place, done, key = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local all_uses, all_bytes, counter = KEYS[4], KEYS[5], KEYS[6]
local OVERHEAD, KEPT_MS = 128, 2592000000
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1e6 + tonumber(time[2])

local function names(of)
  return prefix .. of .. ':values', prefix .. of .. ':uses', prefix .. of .. ':ends'
end

local function drop(of)
  local held = redis.call('HGET', all_bytes, of)
  if held then
    redis.call('HINCRBY', all_bytes, '*', -tonumber(held))
    redis.call('HDEL', all_bytes, of)
  end
  redis.call('ZREM', all_uses, of)
  redis.call('DEL', names(of))
end

-- Whether the plugin keeps anything, and all that belongs to it is there.
local function whole(of)
  local values, uses = names(of)
  local entries = redis.call('HLEN', values)
  if entries > 0 and entries == redis.call('ZCARD', uses) and redis.call('HEXISTS', all_bytes, of) == 1 then
    return true
  end
  drop(of)
  return false
end

local function remove(of, name)
  local values, uses, ends = names(of)
  if redis.call('HEXISTS', values, name) == 0 then
    return 0
  end
  local size = redis.call('HSTRLEN', values, name) + #name + OVERHEAD
  redis.call('HDEL', values, name)
  redis.call('ZREM', uses, name)
  redis.call('ZREM', ends, name)
  redis.call('HINCRBY', all_bytes, of, -size)
  redis.call('HINCRBY', all_bytes, '*', -size)
  if redis.call('HLEN', values) == 0 then
    drop(of)
  end
  return 1
end

local function touch(name)
  local number = redis.call('INCR', counter)
  redis.call('ZADD', KEYS[2], number, name)
  redis.call('ZADD', all_uses, number, place)
  for i = 1, 3 do
    redis.call('PEXPIRE', KEYS[i], KEPT_MS)
  end
end

local function find(name)
  local value = redis.call('HGET', KEYS[1], name)
  if not value then
    return false
  end
  local ends = redis.call('ZSCORE', KEYS[3], name)
  if ends and tonumber(ends) <= now then
    remove(place, name)
    return false
  end
  touch(name)
  return value
end

local function put(name, value, ends, plugin_bytes, plugin_entries, total_bytes)
  for _, old in ipairs(redis.call('ZRANGEBYSCORE', KEYS[3], '-inf', now, 'LIMIT', 0, 200)) do
    remove(place, old)
  end
  remove(place, name)
  redis.call('HSET', KEYS[1], name, value)
  if ends then
    redis.call('ZADD', KEYS[3], ends, name)
  end
  touch(name)
  local size = #name + #value + OVERHEAD
  local held = redis.call('HINCRBY', all_bytes, place, size)
  local total = redis.call('HINCRBY', all_bytes, '*', size)
  while held > plugin_bytes or redis.call('HLEN', KEYS[1]) > plugin_entries do
    remove(place, redis.call('ZRANGE', KEYS[2], 0, 0)[1])
    held = tonumber(redis.call('HGET', all_bytes, place) or '0')
  end
  total = tonumber(redis.call('HGET', all_bytes, '*'))
  while total > total_bytes do
    local oldest = redis.call('ZRANGE', all_uses, 0, 0)[1]
    if not oldest then
      redis.call('DEL', all_bytes)
      break
    end
    if whole(oldest) then
      local _, uses = names(oldest)
      remove(oldest, redis.call('ZRANGE', uses, 0, 0)[1])
    end
    total = tonumber(redis.call('HGET', all_bytes, '*'))
  end
end

if done == 'drop' then
  drop(place)
  return 1
end
whole(place)
if done == 'get' then
  return find(key)
end
if done == 'delete' then
  local found = find(key)
  remove(place, key)
  return found and 1 or 0
end
local plugin_bytes, plugin_entries, total_bytes = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local ends = ARGV[8] ~= '' and now + tonumber(ARGV[8]) or false
if done == 'set' then
  put(key, ARGV[9], ends, plugin_bytes, plugin_entries, total_bytes)
  return 1
end
local by, most = tonumber(ARGV[9]), tonumber(ARGV[10])
local held, number = find(key), 0
if held then
  -- What was set is JSON; a counter keeps the end that it was made with.
  if not string.find(held, '^-?%d+$') then
    return {'not_a_number'}
  end
  number = tonumber(held)
  ends = redis.call('ZSCORE', KEYS[3], key)
end
-- Within that range the numbers of this language are exact.
if math.abs(number) > most or math.abs(number + by) > most then
  return {'out_of_range'}
end
local text = string.format('%.0f', number + by)
put(key, text, ends, plugin_bytes, plugin_entries, total_bytes)
return {'counted', text}
