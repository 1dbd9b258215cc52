-- Takes requests out of rate limits, each a window that slides: the count of the window before weighs as much as of it
-- still lies within the last window_s seconds. The server's clock decides, so that replicas agree.
-- KEYS: a hash for each limit with n (number of the window), c (its count) and p (the count of the one before).
-- ARGV: for each the limit, the window in seconds, and how many are wanted. Where so many are not left, one is taken.
-- Answers for each: how many were taken, how many are left, the milliseconds until there are more.
local time = redis.call('TIME')
local now = tonumber(time[1]) + tonumber(time[2]) / 1e6
local answers = {}
for i, key in ipairs(KEYS) do
  local limit, window, wanted = tonumber(ARGV[3 * i - 2]), tonumber(ARGV[3 * i - 1]), tonumber(ARGV[3 * i])
  local number = math.floor(now / window)
  local left_s = window - now % window
  local held = redis.call('HMGET', key, 'n', 'c', 'p')
  local last, count, before = tonumber(held[1]), tonumber(held[2]) or 0, tonumber(held[3]) or 0
  if last == number - 1 then
    count, before = 0, count
  elseif last ~= number then
    count, before = 0, 0
  end
  local weighed = before * left_s / window
  local room = limit - math.floor(weighed + count)
  local taken = 0
  if room >= wanted then
    taken = wanted
  elseif room >= 1 then
    taken = 1
  end
  if taken > 0 then
    count = count + taken
    redis.call('HSET', key, 'n', number, 'c', count, 'p', before)
    redis.call('PEXPIRE', key, 2000 * window)
  end
  local resets_s = 0
  if before > 0 then
    resets_s = left_s % (window / before)
  end
  if count > 0 and (before == 0 or left_s < resets_s) then
    resets_s = left_s
  end
  answers[i] = {taken, math.max(0, limit - math.floor(weighed + count)), math.ceil(resets_s * 1000)}
end
return answers
