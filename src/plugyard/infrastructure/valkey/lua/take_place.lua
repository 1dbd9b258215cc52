-- Takes a place for an execution under its tenant's quotas, or says which is used up.
-- KEYS: the executions that run (sorted by the end of their lease), the count of the minute, the count of the day.
-- ARGV: the execution, the most at a time, a minute and a day (-1 is no quota), how many of the day are on record (-1
-- where nobody looked), and the lease in milliseconds. A replica that died gives its places back with their leases.
local execution = ARGV[1]
local at_a_time, a_minute, a_day = tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local on_record, lease = tonumber(ARGV[5]), tonumber(ARGV[6])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
-- Its replica may have renewed it while it waited to ask; it does not count against itself.
redis.call('ZREM', KEYS[1], execution)
if at_a_time >= 0 then
  local running = redis.call('ZCARD', KEYS[1])
  if running >= at_a_time then
    return {'concurrentExecutions', running}
  end
end
if a_minute >= 0 then
  local counted = tonumber(redis.call('GET', KEYS[2]) or '0')
  if counted >= a_minute then
    return {'executionsPerMinute', counted}
  end
end
if a_day >= 0 then
  local counted = tonumber(redis.call('GET', KEYS[3]) or '-1')
  if on_record > counted then
    counted = on_record
    redis.call('SET', KEYS[3], counted, 'EX', 172800)
  end
  if counted < 0 then
    return {'unknown', 0}
  end
  if counted >= a_day then
    return {'executionsPerDay', counted}
  end
  redis.call('INCR', KEYS[3])
end
redis.call('ZADD', KEYS[1], now + lease, execution)
redis.call('PEXPIRE', KEYS[1], 2 * lease)
redis.call('INCR', KEYS[2])
redis.call('EXPIRE', KEYS[2], 120)
return {'taken', 0}
