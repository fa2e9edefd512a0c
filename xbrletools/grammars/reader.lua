-- The reader.
L.types = {}

if math.type then
  L.band = load("return function(a, b) return a & b end")()
  L.bor = load("return function(a, b) return a | b end")()
else -- Lua 5.2: numbers are doubles, and bit32 has 32 bits
  local function halves(name)
    local of, half = bit32[name], 2 ^ 32
    return function(a, b) return of(math.floor(a / half), math.floor(b / half)) * half + of(a % half, b % half) end
  end
  L.band, L.bor = halves("band"), halves("bor")
end

local SHORT = {} -- what is thrown where the bytes end

local function room(s, at, size)
  if size >= 0 and at + size <= #s.bytes then return end
  s.needs = size >= 0 and at + size or nil
  error(SHORT)
end

local function number(s, at, size, order)
  room(s, at, size)
  local value = 0
  for i = 1, size do value = value * 256 + s.bytes:byte(order == "be" and at + i or at + size + 1 - i) end
  return value, at + size
end

local function given(value, c, s, o)
  if type(value) == "function" then return value(c, s.params, o) end
  return value
end

local function real(number) return number < 0 and number + 2.0 ^ 64 or number + 0.0 end -- Lua's integers are signed

local read = {}

local function one(shape, c, s, at) return read[shape.form](shape, c, s, at) end

local function named(name, c, s, at)
  local made, own = L.types[name], { _parent = c, _at = {} }
  for _, field in ipairs(made) do
    local start = at
    own[field[1]], at = one(field, own, s, at)
    own._at[field[1]] = { start, at }
  end
  return name == "id_str" and own.text or own, at
end

function read.uint(f, c, s, at) return number(s, at, f.size, f.order) end
function read.int(f, c, s, at)
  local value, next_at = number(s, at, f.size, f.order)
  if f.size < 8 and value >= 2 ^ (8 * f.size - 1) then value = value - 2 ^ (8 * f.size) end
  if f.size == 8 and not math.type and value >= 2 ^ 63 then value = value - 2 ^ 64 end
  return math.type and math.tointeger(value) or value, next_at
end
function read.uleb(f, c, s, at)
  local value, unit = 0, 1
  for _ = 1, f.most do
    local byte
    byte, at = number(s, at, 1, "be")
    value, unit = value + byte % 128 * unit, unit * 128
    if byte < 128 then break end
  end
  return value, at
end
function read.bytes(f, c, s, at)
  local size = f.size and given(f.size, c, s) or #s.bytes - at
  room(s, at, size)
  return s.bytes:sub(at + 1, at + size), at + size
end
function read.const(f, c, s, at)
  local value, next_at = one(f.of, c, s, at)
  if value ~= f.value then error({ "another value than must stand there" }) end
  return value, next_at
end
function read.when(f, c, s, at)
  if not given(f.condition, c, s) then return nil, at end
  return one(f.of, c, s, at)
end
function read.fitting(f, c, s, at)
  if at + f.of.size > #s.bytes then return nil, at end
  local value, next_at = one(f.of, c, s, at)
  if f.fits(c, s.params, value) then return value, next_at end
  return nil, at
end
function read.choice(f, c, s, at)
  local name = f.cases[given(f.on, c, s)]
  if not name then return nil, at end
  return named(name, c, s, at)
end
function read.type(f, c, s, at) return named(f.name, c, s, at) end
function read.sized(f, c, s, at)
  local size = given(f.size, c, s)
  room(s, at, size)
  return one(f.of, c, s, at), at + size
end
function read.value(f, c, s, at) return given(f.value, c, s), at end
function read.row(f, c, s, at)
  local items, count = {}, f.count and given(f.count, c, s)
  while #items ~= count do
    if not count and not f.last then -- all that is left: what does not make an item is left over
      local fine, value, next_at = pcall(one, f.of, c, s, at)
      if not fine or next_at == at then break end
      items[#items + 1], at = value, next_at
    else
      items[#items + 1], at = one(f.of, c, s, at)
      if f.last and f.last(c, s.params, items[#items]) then break end
    end
  end
  return items, at
end
function read.summed(f, c, s, at)
  local items, sum, total = {}, 0.0, real(given(f.total, c, s))
  while sum < total do
    items[#items + 1], at = one(f.of, c, s, at)
    sum = sum + real(items[#items][f.field])
  end
  return items, at
end
function read.following(f, c, s, at)
  local items = {}
  while true do
    local fine, head = pcall(named, f.head, c, s, at)
    if not fine or not f.fits(c, s.params, head) then break end
    items[#items + 1], at = one(f.of, c, s, at)
  end
  return items, at
end

function L.read(name, bytes, at, params)
  local s = { bytes = bytes, params = params or {} }
  local fine, value, next_at = pcall(named, name, nil, s, at or 0)
  if fine then return value, next_at end
  if value == SHORT then return nil, "the bytes end before it does", s.needs end
  if type(value) == "table" then return nil, value[1] end
  error(value)
end
