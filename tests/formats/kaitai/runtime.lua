-- What parsers that kaitai-struct-compiler makes for Lua 5.3 and later need of their runtime, as far as these do.
-- Kaitai's own runtime for Lua comes neither by apt nor by npm nor by pip.
local class = {}
function class.class(base)
  local made = { property = {} }
  made.__index = function(self, key)
    local property = rawget(made, "property")[key]
    if property then return property.get(self) end
    local own = rawget(made, key)
    if own ~= nil then return own end
    return base and base[key]
  end
  return setmetatable(made, {
    __index = base,
    __call = function(_, ...)
      local self = setmetatable({}, made)
      self:_init(...)
      return self
    end,
  })
end
package.loaded["class"] = class

package.loaded["enum"] = { Enum = function(values)
  local made, by = {}, {}
  for name, value in pairs(values) do
    local member = { label = name, value = value }
    made[name], by[value] = member, member
  end
  return setmetatable(made, { __call = function(_, value) return by[value] or { label = nil, value = value } end })
end }

local Box = {}
package.loaded["utils"] = { -- `a and b or c` where b is false or nil
  box_wrap = function(value) return setmetatable({ value }, Box) end,
  box_unwrap = function(box) if getmetatable(box) == Box then return box[1] end return box end,
}
package.loaded["string_decode"] = { decode = function(bytes) return bytes end }
package.loaded["string_stream"] = function(bytes) return bytes end

KaitaiStruct = class.class()
function KaitaiStruct:_init(io) self._io = io end
package.loaded["kaitaistruct"] = KaitaiStruct

local stream = {}
stream.__index = stream
function KaitaiStream(bytes) return setmetatable({ bytes = bytes, at = 0 }, stream) end
function stream:pos() return self.at end
function stream:size() return #self.bytes end
function stream:seek(at) self.at = at end
function stream:is_eof() return self.at >= #self.bytes end
function stream:read_bytes(n)
  if n < 0 or self.at + n > #self.bytes then error("the stream ends at " .. #self.bytes .. ", wanted " .. n .. " bytes at " .. self.at) end
  self.at = self.at + n
  return self.bytes:sub(self.at - n + 1, self.at)
end
function stream:read_bytes_full() return self:read_bytes(#self.bytes - self.at) end
for size = 1, 8 do
  for letter, signed in pairs({ u = "I", s = "i" }) do
    for order, sign in pairs({ be = ">", le = "<" }) do
      local name, form = "read_" .. letter .. size .. (size == 1 and "" or order), sign .. signed .. size
      stream[name] = function(self) return (string.unpack(form, self:read_bytes(size))) end
    end
  end
end
