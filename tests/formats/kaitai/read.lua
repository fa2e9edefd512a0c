-- lua read.lua FOLDER: as read.js, with requests and answers as tables of Lua: return {"migration", ...} a line.
local folder = arg[1]
package.path = folder .. "/?.lua;" .. arg[0]:gsub("[^/]*$", "?.lua")
require("runtime")
require("qemu_migration")
require("qemu_multifd")

local function open(file, start)
  local handle = assert(io.open(file, "rb"))
  handle:seek("set", start)
  return KaitaiStream(handle:read("a"))
end

local function payload(record)
  local kind, body = record.kind.label, (record.version == 3 and record.flat or record.named).body
  if kind == "dup" then return 1 end
  if kind == "page" then return #(rawget(body, "value") or body).data end
  if kind == "xbrle" then return #body.value.payload end
  return kind == "compressed" and #body.data or "null"
end

local function list(items) return "[" .. table.concat(items, ",") .. "]" end

local read = {}
function read.migration(file, start, dialect, page_size, max_records, addresses, page_sizes)
  local made = QemuMigration(dialect, page_size, max_records, addresses, page_sizes, open(file, start))
  local out = {}
  for _, section in ipairs(made.sections) do
    if section.is_ram then
      for _, r in ipairs(section.records) do
        out[#out + 1] = list({ r.offset, '"' .. r.kind.label .. '"', r.flags, r.address, payload(r) })
      end
    end
  end
  return '{"records":' .. list(out) .. ',"last":' .. made.sections[#made.sections].tag.value .. "}"
end

function read.multifd(file, page_size)
  local out = {}
  for _, p in ipairs(QemuMultifd(page_size, open(file, 0)).packets) do
    if p.is_device_state then
      out[#out + 1] = list({ p.offset, "null", "null", "null", "null", #p.data })
    else
      local h = p.header
      local pages = table.move(p.offsets, 1, h.normal_pages + h.zero_pages, 1, {})
      out[#out + 1] = list({ p.offset, h.packet_number, h.normal_pages, h.zero_pages, list(pages), #p.data })
    end
  end
  return list(out)
end

for line in io.lines() do
  local given = load("return " .. line)()
  print(read[given[1]](table.unpack(given, 2)))
end
