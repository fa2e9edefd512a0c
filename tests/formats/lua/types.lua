-- lua types.lua LAYOUTS: for each line on standard input, "TYPE HEX", what the reader makes of the bytes, as JSON.
-- A string is {"hex": ...}. The parameters are those of the test.
local layouts = dofile(arg[1])
local parameters = { page_size = 4096, dialect = tonumber(arg[2]), addresses = false, page_sizes = true }

local function hex(bytes)
  return (bytes:gsub(".", function(c) return string.format("%02x", c:byte()) end))
end

local function json(value)
  if type(value) == "string" then return '{"hex":"' .. hex(value) .. '"}' end
  if type(value) ~= "table" then return type(value) == "number" and string.format("%d", value) or tostring(value) end
  local out = {}
  if value._at then
    for name, part in pairs(value) do
      if name:sub(1, 1) ~= "_" then out[#out + 1] = '"' .. name .. '":' .. json(part) end
    end
    return "{" .. table.concat(out, ",") .. "}"
  end
  for i, part in ipairs(value) do out[i] = json(part) end
  return "[" .. table.concat(out, ",") .. "]"
end

for line in io.lines() do
  local name, given = line:match("^(%S+) (%S*)$")
  local bytes = given:gsub("..", function(pair) return string.char(tonumber(pair, 16)) end)
  local value, at = layouts.read(name, bytes, 0, parameters)
  print(value and json({ json = value, _at = {}, at = at }):gsub("^{", "{", 1) or "null")
end
