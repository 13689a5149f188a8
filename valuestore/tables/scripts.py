"""Scripts: what a Redis server does for RedisTable in one go, in Lua. They keep to what Redis 6.2 has.

Keys of each: ``c``, ``r``, ``s``, ``l``, then the sorted set of each index, in the order of their names.
``c`` is a hash: ``indexes``, their names as JSON; ``rows``, how many there are; ``writes``, how often it was
written; ``epoch`` and ``text``, what CachedTable knows. Each answers {'indexes', names} if the table has
others, and checks everything before it changes anything.
"""

from __future__ import annotations

_BEGIN = """
local c, r, s, l = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local names = redis.call('HGET', c, 'indexes')
if names and names ~= ARGV[1] then return {'indexes', names} end
local function lost()
  local count = tonumber(redis.call('HGET', c, 'rows') or 0)
  if redis.call('HLEN', r) ~= count then return true end
  for i = 5, #KEYS do
    if redis.call('ZCARD', KEYS[i]) ~= count then return true end
  end
  return false
end
"""

_BLOB = """
local function blob(keys)
  -- The rows of the keys, each with its length before it; nothing if one of them is not there.
  local parts = {}
  for at = 1, #keys, 1000 do
    local found = redis.call('HMGET', r, unpack(keys, at, math.min(at + 999, #keys)))
    for _, row in ipairs(found) do
      if not row then return nil end
      parts[#parts + 1] = struct.pack('>I4', #row) .. row
    end
  end
  return table.concat(parts)
end
"""

FIND = (
    _BEGIN
    + _BLOB
    + """
-- ARGV: names, epoch or '', the set, 'r' for reverse, limit or -1, then both ends of each interval.
-- Returns {'rows', 1 if scores are beyond 2^53, rows}, {'changed'} or {'lost'}.
if ARGV[2] ~= '' and redis.call('HGET', c, 'epoch') ~= ARGV[2] then return {'changed'} end
if lost() then return {'lost'} end
local index, reverse, limit, keys = KEYS[tonumber(ARGV[3])], ARGV[4] == 'r', tonumber(ARGV[5]), {}
local command, large = reverse and 'ZREVRANGEBYSCORE' or 'ZRANGEBYSCORE', 0
local function score(key) return math.abs(tonumber(redis.call('ZSCORE', index, key))) end
for i = 6, #ARGV, 2 do
  local first, last = ARGV[i], ARGV[i + 1]
  local left = limit < 0 and -1 or limit - #keys
  local found = redis.call(command, index, first, last, 'LIMIT', 0, left)
  if #found > 0 and math.max(score(found[1]), score(found[#found])) >= 9007199254740992 then
    large = 1
    if #found == left then  -- all of the last score, since its order is not this one
      found = redis.call(command, index, first, redis.call('ZSCORE', index, found[#found]))
    end
  end
  for _, key in ipairs(found) do keys[#keys + 1] = key end
  if limit >= 0 and #keys >= limit then break end
end
local rows = blob(keys)
if not rows then return {'lost'} end
return {'rows', large, rows}
"""
)

COUNT = (
    _BEGIN
    + """
-- ARGV: names, the set, then both ends of each interval.  Returns {'rows', number} or {'lost'}.
if lost() then return {'lost'} end
local number = 0
for i = 3, #ARGV, 2 do
  number = number + redis.call('ZCOUNT', KEYS[tonumber(ARGV[2])], ARGV[i], ARGV[i + 1])
end
return {'rows', number}
"""
)

GET = (
    _BEGIN
    + """
-- ARGV: names, the key.  Returns {'rows', row or nothing} or {'lost'}.
local row = redis.call('HGET', r, ARGV[2])
if not row and lost() then return {'lost'} end
return {'rows', row}
"""
)

ALL = """
-- Returns {'rows', number of writes, row ...}, whatever the indexes are.
local found = redis.call('HVALS', KEYS[2])
table.insert(found, 1, redis.call('HGET', KEYS[1], 'writes') or '0')
table.insert(found, 1, 'rows')
return found
"""

KNOWN = (
    _BEGIN
    + """
-- ARGV: names.  Returns {'rows', epoch, text}, which is empty if rows are lost.
local text = not lost() and redis.call('HGET', c, 'text') or ''
return {'rows', redis.call('HGET', c, 'epoch') or '', text}
"""
)

LEASE = """
-- ARGV: token, milliseconds; 0 lets go.  Returns 1, or 0 if somebody else has it.
local holder = redis.call('GET', KEYS[4])
if holder and holder ~= ARGV[1] then return 0 end
if ARGV[2] == '0' then redis.call('DEL', KEYS[4]) else redis.call('SET', KEYS[4], ARGV[1], 'PX', ARGV[2]) end
return 1
"""

CLEAR = """
for _, name in ipairs(cjson.decode(redis.call('HGET', KEYS[1], 'indexes') or '[]')) do
  redis.call('UNLINK', KEYS[1]:sub(1, -2) .. 'i:' .. name)
end
for _, token in ipairs(redis.call('HKEYS', KEYS[3])) do
  for i = 2, token:find(':') and 0 or #KEYS do
    redis.call('UNLINK', KEYS[3] .. ':' .. token .. ':' .. KEYS[i]:sub(#KEYS[1]))
  end
end
return redis.call('UNLINK', unpack(KEYS))
"""

APPLY = (
    _BEGIN.replace("if names", "if ARGV[3] ~= 'writes' and names")
    + _BLOB
    + """
-- ARGV: names; mark, if rows are wanted; of the guard: field or '', what was seen, lease, '1' if there is a
-- text, next epoch, text; then the steps, or 'pieces' and the fields of s where they are, or 'table', a token
-- and a number: so many rows, which are to be all, are at s:<token>:<r or i:index>. Where 'writes' is
-- guarded, step a is the first, and takes the place of other indexes.
-- A step is a letter and what follows: p number key row ..., and for each set score ...; d set number end end
-- ...; e number key row ..., where no bytes are any row; a. Numbers and lengths of texts have four bytes.
-- Returns {'rows', number, rows}.
if ARGV[3] ~= '' then
  local seen = redis.call('HGET', c, ARGV[3]) or (ARGV[3] == 'writes' and '0' or '')
  if seen ~= ARGV[4] then return {'changed'} end
  if ARGV[5] ~= '' and redis.call('GET', l) ~= ARGV[5] then return {'changed'} end
end
local steps, staged = ARGV[9], nil
local function waits(key) return s .. ':' .. ARGV[10] .. ':' .. key:sub(#c) end
if steps == 'table' then
  staged = tonumber(ARGV[11])
  if redis.call('HLEN', waits(r)) ~= staged then return {'evicted'} end
  for i = 5, #KEYS do
    if redis.call('ZCARD', waits(KEYS[i])) ~= staged then return {'evicted'} end
  end
  redis.call('HDEL', s, ARGV[10])
  steps = 'a'
elseif steps == 'pieces' then
  local pieces = redis.call('HMGET', s, unpack(ARGV, 10))
  for i = 1, #ARGV - 9 do
    if not pieces[i] then return {'evicted'} end
  end
  steps = table.concat(pieces)
  redis.call('HDEL', s, unpack(ARGV, 10))
end
local wanted, mark, at, added, dropped, rows = ARGV[2] ~= '', ARGV[2], 1, 0, 0, ''
local function number()
  local value
  value, at = struct.unpack('>I4', steps, at)
  return value
end
local function text()
  local value
  value, at = struct.unpack('>I4c0', steps, at)
  return value
end
local function drop(keys)
  for from = 1, #keys, 1000 do
    local to = math.min(from + 999, #keys)
    dropped = dropped + redis.call('HDEL', r, unpack(keys, from, to))
    for i = 5, #KEYS do redis.call('ZREM', KEYS[i], unpack(keys, from, to)) end
  end
end
while at <= #steps do
  local letter, keys = steps:sub(at, at), {}
  at = at + 1
  if letter == 'p' then
    local count = number()
    local found = {struct.unpack('>' .. ('I4c0I4c0'):rep(count), steps, at)}
    at = table.remove(found)
    added = added + redis.call('HSET', r, unpack(found))
    for i = 5, #KEYS do
      local scores, scored = {struct.unpack('>' .. ('I4c0'):rep(count), steps, at)}, {}
      at = scores[count + 1]
      for row = 1, count do scored[2 * row - 1], scored[2 * row] = scores[row], found[2 * row - 1] end
      redis.call('ZADD', KEYS[i], unpack(scored))
    end
  elseif letter == 'a' then
    dropped = dropped + redis.call('HLEN', r)
    redis.call('UNLINK', r)
    for _, name in ipairs(cjson.decode(names or ARGV[1])) do
      redis.call('UNLINK', c:sub(1, -2) .. 'i:' .. name)
    end
    redis.call('HSET', c, 'rows', dropped, 'indexes', ARGV[1])
    added = 0
  elseif letter == 'd' then
    local index = KEYS[number()]
    for _ = 1, number() do
      local first, last = text(), text()
      for _, key in ipairs(redis.call('ZRANGEBYSCORE', index, first, last)) do keys[#keys + 1] = key end
    end
    if wanted then
      rows = blob(keys)
      if not rows then return {'lost'} end
      local row = 1
      while row <= #rows do
        if rows:sub(row + 4, row + 3 + #mark) ~= mark then return {'schema'} end
        row = row + 4 + struct.unpack('>I4', rows, row)
      end
    end
    drop(keys)
  elseif letter == 'e' then
    for _ = 1, number() do
      local key, row = text(), text()
      if row == '' or redis.call('HGET', r, key) == row then
        keys[#keys + 1] = key
        if wanted then rows = rows .. struct.pack('>I4', #row) .. row end
      end
    end
    drop(keys)
  end
end
for i = 2, staged and #KEYS or 0 do
  if i == 2 or i > 4 then
    redis.call('RENAME', waits(KEYS[i]), KEYS[i])
    redis.call('PERSIST', KEYS[i])
  end
end
redis.call('HINCRBY', c, 'rows', added + (staged or 0) - dropped)
redis.call('HINCRBY', c, 'writes', 1)
if not names then redis.call('HSET', c, 'indexes', ARGV[1]) end
if ARGV[6] ~= '' then redis.call('HSET', c, 'epoch', ARGV[7], 'text', ARGV[8]) end
return {'rows', dropped, rows}
"""
)

EACH = (FIND, COUNT, GET, ALL, KNOWN, LEASE, CLEAR, APPLY)
