-- Gives a place back. What did not happen, because there was no room for it, has used nothing up.
-- KEYS: as in take_place. ARGV: the execution, and 1 where it happened.
local held = redis.call('ZREM', KEYS[1], ARGV[1])
if held == 1 and ARGV[2] ~= '1' then
  for i = 2, 3 do
    if tonumber(redis.call('GET', KEYS[i]) or '0') > 0 then
      redis.call('DECR', KEYS[i])
    end
  end
end
return held
