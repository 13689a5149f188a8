"""Scripts: what a Redis server does for RedisStore in one go, in Lua.

Each script checks everything before it changes anything; for want of memory Redis refuses the first change
only. So none stops half way. They keep to what Redis 6.2 has.
"""

from __future__ import annotations

CHANGE = """
-- KEYS: index, about, then the name of each value.  ARGV: length of the base, then for each value its verb,
-- description and data. Verbs: d delete; p put; with k keep the attributes, n only if new, t data is the name
-- of a temporary value. Returns {0, number, problem}, or {1, what the change found, ...}.
local index, about, cut = KEYS[1], KEYS[2], ARGV[1] + 1
local held, keys, kept = {}, {}, {}
for i = 3, #KEYS do
  local kind, verb = redis.call('TYPE', KEYS[i]).ok, ARGV[3 * i - 7]
  if kind ~= 'none' and kind ~= 'string' then return {0, i - 2, 'type'} end
  held[i] = kind == 'string'
  keys[i] = KEYS[i]:sub(cut)
  if verb ~= 'p' and verb ~= 'pk' then
    if held[i] and verb:find('n') then return {0, i - 2, 'taken'} end
    if verb:find('t') and redis.call('EXISTS', ARGV[3 * i - 5]) == 0 then return {0, i - 2, 'lost'} end
  end
  if verb == 'pk' or verb:find('k') then
    local known = held[i] and redis.call('HGET', about, keys[i])
    kept[i] = known and known:match('^%S+ %S+ %S+ (.*)$') or '{}'
  end
end
local replies, scores, texts = {1}, {}, {}
local function note()
  if #scores == 0 then return end
  redis.call('HSET', about, unpack(texts))
  redis.call('ZADD', index, unpack(scores))
  scores, texts = {}, {}
end
for i = 3, #KEYS do
  local name, verb, text, data = KEYS[i], ARGV[3 * i - 7], ARGV[3 * i - 6], ARGV[3 * i - 5]
  local reply, last = kept[i] or '', #scores
  if verb == 'd' then
    note()
    reply = redis.call('UNLINK', name)
    redis.call('ZREM', index, keys[i])
    redis.call('HDEL', about, keys[i])
  else
    if verb == 'p' or verb == 'pk' or not verb:find('t') then
      redis.call('SET', name, data)
    else
      redis.call('RENAME', data, name)
      redis.call('PERSIST', name)
    end
    scores[last + 1], scores[last + 2] = 0, keys[i]
    texts[last + 1], texts[last + 2] = keys[i], text .. reply
    if last > 1000 then note() end
  end
  replies[i - 1] = reply
end
note()
return replies
"""

COPY = """
-- KEYS: index, about, source, target.  ARGV: the keys of both, microseconds, 'n' if only to a free target,
-- 'm' to move.  Returns {-1, problem, of source (1) or target (2)}, or {size, description}.
local source, target, key, flags = KEYS[3], KEYS[4], ARGV[2], ARGV[4]
local kinds = {redis.call('TYPE', source).ok, redis.call('TYPE', target).ok}
if kinds[1] == 'none' then return {-1, 'missing', 1} end
if kinds[1] ~= 'string' then return {-1, 'type', 1} end
if kinds[2] ~= 'none' and kinds[2] ~= 'string' then return {-1, 'type', 2} end
if kinds[2] == 'string' and flags:find('n') then return {-1, 'taken', 2} end
local size = redis.call('STRLEN', source)
local known = redis.call('HGET', KEYS[2], ARGV[1]) or ''
local etag, then_size, attrs = known:match('^(%S+) %S+ (%S+) (.*)$')
if tonumber(then_size) ~= size then etag = '-' end
if source ~= target and flags:find('m') then
  redis.call('RENAME', source, target)
  redis.call('ZREM', KEYS[1], ARGV[1])
  redis.call('HDEL', KEYS[2], ARGV[1])
elseif source ~= target then
  redis.call('COPY', source, target, 'REPLACE')
end
local text = etag .. ' ' .. ARGV[3] .. ' ' .. size .. ' ' .. (attrs or '{}')
redis.call('PERSIST', target)
redis.call('HSET', KEYS[2], key, text)
redis.call('ZADD', KEYS[1], 0, key)
return {size, text}
"""

STAT = """
-- KEYS: about, the value.  ARGV: its key.  Returns {size, description or ''}, or nothing.
local size = redis.call('STRLEN', KEYS[2])
if size == 0 and redis.call('EXISTS', KEYS[2]) == 0 then return false end
return {size, redis.call('HGET', KEYS[1], ARGV[1]) or ''}
"""

GET_RANGE = """
-- KEYS: the value.  ARGV: start and end ('' for none) of a slice.
local size = redis.call('STRLEN', KEYS[1])
if size == 0 and redis.call('EXISTS', KEYS[1]) == 0 then return false end
local first, last = tonumber(ARGV[1]), tonumber(ARGV[2]) or size
if first < 0 then first = math.max(first + size, 0) end
if last < 0 then last = last + size end
if first >= last then return '' end
return redis.call('GETRANGE', KEYS[1], first, last - 1)
"""

OPEN = """
-- KEYS: the value, a temporary key.  ARGV: how large a value may be returned, milliseconds.
-- Returns {size, data}; {size} if it was copied to the temporary key; {-1} if that cannot be.
local size = redis.call('STRLEN', KEYS[1])
if size == 0 and redis.call('EXISTS', KEYS[1]) == 0 then return false end
if size <= tonumber(ARGV[1]) then return {size, redis.call('GET', KEYS[1])} end
if redis.pcall('COPY', KEYS[1], KEYS[2]) ~= 1 then return {-1} end
redis.call('PEXPIRE', KEYS[2], ARGV[2])
return {size}
"""

LIST = """
-- KEYS: index, about.  ARGV: base, ends of the range, how many keys, how many to look at.
-- Keys whose value is gone, evicted or deleted by another program, are forgotten.
-- Returns {where to go on or '', keys ...}.
local from, found, dead, looked = ARGV[2], {''}, {}, 0
local wanted = tonumber(ARGV[4])
while #found <= wanted do
  if looked >= tonumber(ARGV[5]) then found[1] = from break end
  local asked = wanted + 1 - #found
  local keys = redis.call('ZRANGEBYLEX', KEYS[1], from, ARGV[3], 'LIMIT', 0, asked)
  for _, key in ipairs(keys) do
    local alive = redis.call('EXISTS', ARGV[1] .. key) == 1
    table.insert(alive and found or dead, key)
    from = '(' .. key
  end
  looked = looked + #keys
  if #keys < asked then break end
end
for _, key in ipairs(dead) do
  redis.pcall('ZREM', KEYS[1], key)
  redis.pcall('HDEL', KEYS[2], key)
end
return found
"""

ADOPT = """
-- KEYS: index, about.  ARGV: base, microseconds, then keys.  Returns how many were not in the index.
local added = 0
for i = 3, #ARGV do
  local name = ARGV[1] .. ARGV[i]
  if redis.call('TYPE', name).ok == 'string' then
    local size, known = redis.call('STRLEN', name), redis.call('HGET', KEYS[2], ARGV[i]) or ''
    local then_size, attrs = known:match('^%S+ %S+ (%S+) (.*)$')
    if tonumber(then_size) ~= size then
      redis.call('HSET', KEYS[2], ARGV[i], '- ' .. ARGV[2] .. ' ' .. size .. ' ' .. (attrs or '{}'))
    end
    added = added + redis.call('ZADD', KEYS[1], 0, ARGV[i])
  end
end
return added
"""

ALL = (CHANGE, COPY, STAT, GET_RANGE, OPEN, LIST, ADOPT)
