-- What is used of a tenant's quotas: executions of the minute, of the day (-1 where nobody counted), and running.
-- KEYS: as in take_place.
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
return {
  tonumber(redis.call('GET', KEYS[2]) or '0'),
  tonumber(redis.call('GET', KEYS[3]) or '-1'),
  redis.call('ZCOUNT', KEYS[1], '(' .. now, '+inf'),
}
