-- A PDU is the file header, a section's header, a RAM record with its page, a footer, a command, or a packet of multifd.
--
-- What a byte means depends on all before it. So each direction of a connection has a state that goes from PDU to PDU.
-- Wireshark dissects a packet again in any order: the state before each call is kept by packet. It is some ten values.
-- From the first device on the stream does not say lengths, and the rest is shown as one. Where bytes are missing or come
-- in another order, a mark says so, and the connection is not followed from there on.

local p = Proto("qemu_mig", "QEMU migration")
local f = p.fields
local FRAMING_MAX = 65536 -- bytes of a list or a command that are waited for
local PACKET_MAX = 4 * 1024 * 1024 -- bytes of a packet of multifd

f.version = ProtoField.uint32("qemu_mig.version", "File version")
f.part = ProtoField.uint8("qemu_mig.part", "Part", base.HEX, T.PART)
f.section_id = ProtoField.uint32("qemu_mig.section_id", "Section id")
f.idstr = ProtoField.string("qemu_mig.idstr", "Owner")
f.instance = ProtoField.uint32("qemu_mig.instance_id", "Instance")
f.sversion = ProtoField.uint32("qemu_mig.version_id", "Section version")
f.machine = ProtoField.string("qemu_mig.machine", "Machine")
f.capability = ProtoField.string("qemu_mig.capability", "Capability")
f.command = ProtoField.uint16("qemu_mig.command", "Command", base.DEC, T.COMMAND)
f.opaque = ProtoField.bytes("qemu_mig.opaque", "Not dissected")
f.word = ProtoField.uint64("qemu_mig.word", "Record word", base.HEX)
f.kind = ProtoField.string("qemu_mig.kind", "Kind")
f.block = ProtoField.string("qemu_mig.block", "Block")
f.page = ProtoField.uint64("qemu_mig.page", "Page", base.HEX)
f.offset = ProtoField.uint64("qemu_mig.offset", "Offset in the stream")
f.length = ProtoField.uint32("qemu_mig.length", "Payload length")
f.fill = ProtoField.uint8("qemu_mig.fill", "Fill", base.HEX)
f.dialect = ProtoField.string("qemu_mig.dialect", "Dialect")
f.header = ProtoField.bytes("qemu_mig.delta_header", "Delta header")
f.checksum = ProtoField.uint32("qemu_mig.checksum", "Checksum", base.HEX)
f.runs = ProtoField.uint32("qemu_mig.runs", "Runs")
f.changed = ProtoField.uint32("qemu_mig.changed", "Changed bytes")
f.data = ProtoField.bytes("qemu_mig.data", "Payload")
f.listed = ProtoField.string("qemu_mig.listed", "Listed block")
f.listed_length = ProtoField.uint64("qemu_mig.listed_length", "Its length")
f.mfd_id = ProtoField.uint8("qemu_mig.multifd.id", "Channel")
f.mfd_flags = ProtoField.uint32("qemu_mig.multifd.flags", "Flags", base.HEX)
f.mfd_sync = ProtoField.bool("qemu_mig.multifd.sync", "SYNC")
f.mfd_method = ProtoField.uint32("qemu_mig.multifd.method", "Method", base.DEC, T.MULTIFD_METHOD)
f.mfd_normal = ProtoField.uint32("qemu_mig.multifd.normal", "Normal pages")
f.mfd_zero = ProtoField.uint32("qemu_mig.multifd.zero", "Zero pages")
f.mfd_size = ProtoField.uint32("qemu_mig.multifd.size", "Data size")
f.mfd_number = ProtoField.uint64("qemu_mig.multifd.number", "Packet number")
f.mfd_page = ProtoField.uint64("qemu_mig.multifd.page", "Page", base.HEX)
f.mfd_zero_page = ProtoField.uint64("qemu_mig.multifd.zero_page", "Zero page", base.HEX)
local flag_fields = {}
for name, value in pairs(T.FLAG) do flag_fields[#flag_fields + 1] = { name, value } end
table.sort(flag_fields, function(a, b) return a[2] < b[2] end)
for _, flag in ipairs(flag_fields) do
  f["flag_" .. flag[1]] = ProtoField.bool("qemu_mig.flags." .. flag[1]:lower(), flag[1], 16, nil, flag[2])
end
local lost = ProtoExpert.new("qemu_mig.lost", "The stream cannot be followed from here", expert.group.SEQUENCE, expert.severity.WARN)
local gap = ProtoExpert.new("qemu_mig.gap", "Bytes before this are missing, or come later", expert.group.SEQUENCE, expert.severity.WARN)
p.experts = { lost, gap }

local choices = { { 1, "found by itself", 0 } }
for i, d in ipairs(T.DIALECTS) do choices[#choices + 1] = { i + 1, d.name, i } end
p.prefs.page_size = Pref.uint("Page size", 4096, "of the target, in bytes")
p.prefs.dialect = Pref.enum("Dialect", 0, "how deltas read", choices, false)
p.prefs.endian = Pref.enum("Byte order of the sending host", 0, "of the delta headers that depend on it",
  { { 1, "found by itself", 0 }, { 2, "little-endian", 1 }, { 3, "big-endian", 2 } }, false)

local ways, frames = {}, {}
function p.init() ways, frames = {}, {} end

local function copy(s)
  local t = {}
  for k, v in pairs(s) do t[k] = v end
  return t
end

local function bit(value, flag) return math.floor(value / flag) % 2 == 1 end
local function wide(n) return UInt64(n % 2 ^ 32, math.floor(n / 2 ^ 32)) end
local function has(tvb, at, n) return tvb:len() - at >= n end
local function cut(why) return nil, nil, why end

-- Each reader takes (tvb, at, state) and gives the PDU's length; or nil and how many bytes from `at` it needs at the least;
-- or nil, nil and why no PDU can be there.

-- Deltas ----------------------------------------------------------------------------------------------------------------

-- Runs, changed bytes and the bytes of the page that a payload comes to. nil where it does not read so.
local coding = {}

function coding.RLE(b, from, to)
  local runs, changed, total = 0, 0, 0
  if (to - from) % 2 == 1 then return nil end
  for i = from, to - 2, 2 do
    local n = b:get_index(i)
    if b:get_index(i + 1) ~= 0 then changed = changed + n end
    runs, total = runs + 1, total + n
  end
  return runs, changed, total
end

function coding.ZRUN(b, from, to)
  local runs, changed, total, i = 0, 0, 0, from
  local function number()
    local v = b:get_index(i)
    i = i + 1
    if v >= T.ULEB_MORE then
      if i >= to then return nil end
      v = v % T.ULEB_MORE + b:get_index(i) * T.ULEB_MORE
      i = i + 1
    end
    return v
  end
  while i < to do
    local same = number()
    if not same or i >= to then return nil end
    local new = number()
    if not new or new == 0 or i + new > to then return nil end
    runs, changed, total, i = runs + 1, changed + new, total + same + new, i + new
  end
  return runs, changed, total
end

-- The doubled bytes of 2010: what follows a byte that equals the one before it says how often it is repeated.
local function doubled(next_byte)
  return function(b, from, to)
    local runs, changed, total, i, last = 0, 0, 0, from, nil
    while i < to do
      local v = b:get_index(i)
      i, total = i + 1, total + 1
      if v ~= 0 then changed = changed + 1 end
      if v == last then
        local more, value = 0, v
        if next_byte then
          if i + 1 >= to then return nil end
          local after = b:get_index(i)
          more = b:get_index(i + 1) - 1
          i, total = i + 2, total + 1
          if after ~= 0 then changed = changed + 1 end
          last = after
        else
          if i >= to then return nil end
          more = b:get_index(i)
          i, last = i + 1, nil
        end
        if more < 0 then return nil end
        runs, total = runs + 1, total + more
        if value ~= 0 then changed = changed + more end
      else
        last = v
      end
    end
    return runs, changed, total
  end
end
coding.DOUBLED, coding.DOUBLED_NEXT = doubled(false), doubled(true)

-- A delta's payload, as its place and length behind `at`, by a dialect and a byte order.
local function payload_of(tvb, at, d, little)
  if not has(tvb, at, d.header.size) then return nil end
  local place = d.header.length
  local range = tvb(at + place[1], place[2])
  return d.header.size, (little and d.host and range:le_uint() or range:uint()) - d.counts
end

-- Which dialect the first delta is of: the first in which it comes to a page. nil, and the bytes that it takes to tell.
local function detect(tvb, at, s)
  local page_size, best, needs = p.prefs.page_size, nil, 0
  for _, d in ipairs(T.DIALECTS) do
    local fits = d.version == s.v and (p.prefs.dialect == 0 or T.DIALECTS[p.prefs.dialect] == d)
    if p.prefs.dialect == 0 and s.configuration then fits = fits and d.configured end
    if p.prefs.dialect == 0 and s.page_sum ~= nil then fits = fits and d.page_sum == s.page_sum end
    for _, little in ipairs({ true, false }) do
      local order = p.prefs.endian == 0 or (p.prefs.endian == 1) == little
      if fits and order and (d.host or little) and not best then
        local head, length = payload_of(tvb, at, d, little)
        if not head then
          needs = math.max(needs, d.header.size)
        elseif length >= 0 and length <= d.limit * page_size then
          if p.prefs.dialect ~= 0 and (p.prefs.endian ~= 0 or not d.host) then
            best = { d, little }
          elseif not has(tvb, at, head + length) then
            needs = math.max(needs, head + length)
          else
            local runs, _, total = coding[d.coding](tvb:bytes(at, head + length), head, head + length)
            if runs and (total == page_size or (d.coding == "ZRUN" and total <= page_size and length > 0)) then best = { d, little } end
          end
        end
      end
    end
  end
  return best, needs
end

-- Sections ----------------------------------------------------------------------------------------------------------------

local function section_tree(tree, tvb, at, len, label, s)
  local x = tree:add(p, tvb(at, len), label)
  x:add(f.part, tvb(at, 1))
  x:add(f.offset, tvb(at, 1), wide(s.pos)):set_generated()
  return x
end

-- Whether the byte behind a PDU can be looked at. In later passes Wireshark ends a call where a PDU ended in the first.
local visited = false
local function next_is_there(tvb, at, len) return has(tvb, at, len + 1) or (visited and has(tvb, at, len)) end

local function configuration(tvb, at, s, tree)
  if not has(tvb, at, 5) then return nil, 5 end
  local n = tvb(at + 1, 4):uint()
  if n > FRAMING_MAX then return cut("a machine's name of " .. n .. " bytes") end
  local len, caps = 5 + n, {}
  if not next_is_there(tvb, at, len) then return nil, len + 1 end
  while has(tvb, at, len + 1) and tvb(at + len, 1):uint() == T.PARTS.SUBSECTION do
    if not has(tvb, at, len + 2) then return nil, len + 2 end
    local k = tvb(at + len + 1, 1):uint()
    local data = len + 2 + k + 4
    if not has(tvb, at, data + 4) then return nil, data + 4 end
    local name = tvb(at + len + 2, k):string()
    if name == "configuration/target-page-bits" then data = data + 4
    elseif name == "configuration/uuid" then data = data + 16
    elseif name == "configuration/capabilities" then
      local count = tvb(at + data, 4):uint()
      data = data + 4
      if count > 256 then return cut("a list of " .. count .. " capabilities") end
      for _ = 1, count do
        if not has(tvb, at, data + 1) then return nil, data + 1 end
        local c = tvb(at + data, 1):uint()
        if not has(tvb, at, data + 1 + c) then return nil, data + 1 + c end
        caps[#caps + 1] = { at + data + 1, c }
        data = data + 1 + c
      end
    else
      return cut("a subsection of CONFIGURATION that is not known")
    end
    len = data
    if not next_is_there(tvb, at, len) then return nil, len + 1 end
  end
  if tree then
    local x = section_tree(tree, tvb, at, len, "CONFIGURATION", s)
    x:add(f.machine, tvb(at + 5, n))
    for _, c in ipairs(caps) do x:add(f.capability, tvb(c[1], c[2])) end
  end
  for _, c in ipairs(caps) do
    if tvb(c[1], c[2]):string() == "x-ignore-shared" then s.addresses = true end
  end
  s.configuration = true
  return len
end

local function section(tvb, at, s, tree)
  local t = tvb(at, 1):uint()
  if t == T.PARTS.FOOTER then
    if not has(tvb, at, 5) then return nil, 5 end
    if tree then section_tree(tree, tvb, at, 5, "Footer", s):add(f.section_id, tvb(at + 1, 4)) end
    return 5
  elseif t == T.PARTS.START or t == T.PARTS.FULL then
    if not has(tvb, at, 6) then return nil, 6 end
    local n = tvb(at + 5, 1):uint()
    local len = 14 + n
    if not has(tvb, at, len) then return nil, len end
    local id, name = tvb(at + 1, 4):uint(), tvb(at + 6, n):string()
    if tree then
      local x = section_tree(tree, tvb, at, len, "Section " .. T.PART[t] .. " " .. id .. " " .. name, s)
      x:add(f.section_id, tvb(at + 1, 4))
      x:add(f.idstr, tvb(at + 6, n))
      x:add(f.instance, tvb(at + 6 + n, 4))
      x:add(f.sversion, tvb(at + 10 + n, 4))
    end
    s.mode = "opaque"
    if t == T.PARTS.START and name == T.RAM then
      s.ram, s.v, s.mode = id, tvb(at + 10 + n, 4):uint(), "ram"
      if not T.KINDS[s.v] then s.mode = "opaque" end
    elseif t == T.PARTS.START and name == T.BLOCK then
      s.disk, s.mode = id, "disk"
    end
    return len
  elseif t == T.PARTS.PART or t == T.PARTS.END then
    if not has(tvb, at, 5) then return nil, 5 end
    local id = tvb(at + 1, 4):uint()
    if tree then section_tree(tree, tvb, at, 5, "Section " .. T.PART[t] .. " " .. id, s):add(f.section_id, tvb(at + 1, 4)) end
    s.mode = id == s.ram and "ram" or id == s.disk and "disk" or "opaque"
    return 5
  elseif t == T.PARTS.CONFIGURATION then
    return configuration(tvb, at, s, tree)
  elseif t == T.PARTS.COMMAND then
    if not has(tvb, at, 5) then return nil, 5 end
    local number, len = tvb(at + 1, 2):uint(), 5 + tvb(at + 3, 2):uint()
    if not has(tvb, at, len) then return nil, len end
    if tree then section_tree(tree, tvb, at, len, "COMMAND", s):add(f.command, tvb(at + 1, 2)) end
    if number == T.PACKAGED and len == 9 then s.skip, s.mode = tvb(at + 5, 4):uint(), "skip" end
    return len
  elseif t == T.PARTS.EOF then
    if tree then section_tree(tree, tvb, at, 1, "EOF", s) end
    s.mode = "opaque"
    return 1
  end
  return cut(string.format("no section begins with the byte 0x%02x", t))
end

-- RAM ---------------------------------------------------------------------------------------------------------------------

local function block_list(tvb, at, s, total)
  local len, sum, entries = 8, 0, {}
  while sum < total do
    if len > FRAMING_MAX then return cut("a block list of more than " .. FRAMING_MAX .. " bytes") end
    if not has(tvb, at, len + 1) then return nil, len + 1 end
    local k = tvb(at + len, 1):uint()
    if not has(tvb, at, len + 9 + k) then return nil, len + 9 + k end
    local size = tvb(at + len + 1 + k, 8):uint64():tonumber()
    if size == 0 then return cut("a RAM block without a length") end
    entries[#entries + 1] = { at + len + 1, k, size }
    sum, len = sum + size, len + 9 + k
    if sum < total then
      if not has(tvb, at, len + 1) then return nil, len + 1 end
      if tvb(at + len, 1):uint() == 0 then len = len + 8 end -- a page size: a name is never empty
    end
    if s.addresses then len = len + 8 end
  end
  if not has(tvb, at, len) then return nil, len end
  local blocks = {}
  for _, e in ipairs(entries) do blocks[tvb(e[1], e[2]):string()] = e[3] end
  return len, entries, nil, blocks
end

local function delta_payload(tvb, at, s)
  if not s.dialect then
    local found, needs = detect(tvb, at, s)
    if not found and needs > 0 and not has(tvb, at, needs) then return nil, 1 end
    if not found then return cut("a delta that reads in no dialect; say which one in the preferences") end
    s.dialect, s.little = found[1], found[2]
  end
  local head, length = payload_of(tvb, at, s.dialect, s.little)
  if not head then return nil, s.dialect.header.size end
  if length < 0 or length > s.dialect.limit * p.prefs.page_size then return cut("a delta of " .. length .. " bytes") end
  return head, length
end

local function record_tree(tree, tvb, at, len, s, r, pinfo)
  local label = r.kind
  if r.kind == "xbrle" and s.dialect and s.dialect.coding == "ZRUN" then label = "xbzrle" end
  local place = r.paged and string.format(" %s:0x%x", r.name or "?", r.address) or ""
  local x = tree:add(p, tvb(at, len), "Record " .. label .. place)
  x:add(f.word, tvb(at, 8))
  local flags = x:add(tvb(at + 6, 2), string.format("Flags: 0x%03x", r.flags))
  for _, flag in ipairs(flag_fields) do flags:add(f["flag_" .. flag[1]], tvb(at + 6, 2)) end
  x:add(f.kind, tvb(at, 8), label)
  x:add(f.offset, tvb(at, 8), wide(s.pos)):set_generated()
  for _, e in ipairs(r.entries) do x:add(f.listed, tvb(e[1], e[2])):add(f.listed_length, tvb(e[1] + e[2], 8)) end
  if r.paged then
    if r.name_at then x:add(f.block, tvb(r.name_at[1], r.name_at[2])) elseif r.name then x:add(f.block, r.name):set_generated() end
    x:add(f.page, tvb(at, 8), wide(r.address))
    local from, size = at + r.payload, len - r.payload
    x:add(f.length, tvb(from, size), size)
    if r.kind == "dup" then
      x:add(f.fill, tvb(from, 1))
    elseif r.kind == "xbrle" then
      local head = s.dialect.header
      x:add(f.dialect, s.dialect.name):set_generated()
      x:add(f.header, tvb(from - head.size, head.size))
      if head.checksum then
        local sum = tvb(from - head.size + head.checksum[1], head.checksum[2])
        if s.little and s.dialect.host then x:add_le(f.checksum, sum) else x:add(f.checksum, sum) end
      end
      local runs, changed = 0, 0
      if size > 0 then runs, changed = coding[s.dialect.coding](tvb:bytes(from, size), 0, size) end
      if runs then
        x:add(f.runs, tvb(from, size), runs):set_generated()
        x:add(f.changed, tvb(from, size), changed):set_generated()
      end
    end
    if size > 0 then x:add(f.data, tvb(from, size)) end
  end
  pinfo.cols.info:append(" " .. label)
end

local function record(tvb, at, s, tree, pinfo)
  if not has(tvb, at, 8) then return nil, 8 end
  local page_size = p.prefs.page_size
  local high, low = tvb(at, 4):uint(), tvb(at + 4, 4):uint()
  local r = { flags = low % math.min(page_size, T.FLAG_VALUES), entries = {}, payload = 8 }
  r.address = high * 2 ^ 32 + low - low % page_size
  if low % page_size >= T.FLAG_VALUES then return cut("no record's word: flags that are not known") end
  for _, rule in ipairs(T.KINDS[s.v]) do
    if bit(r.flags, rule[1]) then r.kind = rule[2]; break end
  end
  if not r.kind then return cut("no record's word") end
  r.paged = r.kind == "dup" or r.kind == "page" or r.kind == "xbrle" or r.kind == "compressed"
  local len, blocks, named = 8, nil, s.v ~= T.FLAT
  if bit(r.flags, T.FLAG.MEM_SIZE) and named then
    local list, more, why, found = block_list(tvb, at, s, r.address)
    if not list then return nil, more, why end
    len, r.entries, blocks = list, more, found
  end
  r.name = s.name
  if r.paged and named and not bit(r.flags, T.FLAG.CONTINUE) then
    if not has(tvb, at, len + 1) then return nil, len + 1 end
    local k = tvb(at + len, 1):uint()
    if not has(tvb, at, len + 1 + k) then return nil, len + 1 + k end
    r.name_at, r.name, len = { at + len + 1, k }, tvb(at + len + 1, k):string(), len + 1 + k
  end
  local known = blocks or s.blocks
  if r.paged and named and known and not (known[r.name] and r.address < known[r.name]) then
    return cut("a page outside of the RAM blocks")
  end
  r.payload = len
  if r.kind == "dup" then
    len = len + 1
  elseif r.kind == "page" then
    if s.v == T.FLAT and s.page_sum == nil then
      local chosen = s.dialect or T.DIALECTS[p.prefs.dialect]
      if chosen then
        s.page_sum = chosen.page_sum
      elseif not has(tvb, at, len + 4 + page_size) then
        return nil, 1
      else -- debug builds of 2010 put the sum of its bytes before a page
        local b, sum = tvb:bytes(at + len + 4, page_size), 0
        for i = 0, page_size - 1 do sum = sum + b:get_index(i) end
        s.page_sum = sum == tvb(at + len, 4):uint()
      end
    end
    if s.page_sum then r.payload = len + 4 end
    len = r.payload + page_size
  elseif r.kind == "compressed" then
    if not has(tvb, at, len + 4) then return nil, len + 4 end
    local size = tvb(at + len, 4):uint()
    if size > 2 * page_size then return cut("a packed page of " .. size .. " bytes") end
    r.payload, len = len + 4, len + 4 + size
  elseif r.kind == "xbrle" then
    local head, length, why = delta_payload(tvb, at + len, s)
    if not head then return nil, length and math.max(1, length), why end
    r.payload, len = len + head, len + head + length
  end
  if not has(tvb, at, len) then return nil, len end
  if tree then record_tree(tree, tvb, at, len, s, r, pinfo) end
  s.name, s.blocks = r.name, known
  if r.kind == "eos" then s.mode = "section" end
  return len
end

local function disk(tvb, at, s, tree)
  if not has(tvb, at, 8) then return nil, 8 end
  local flags, len = tvb(at + 6, 2):uint() % 512, 8
  if bit(flags, T.BLOCK_FLAG.DEVICE_BLOCK) then
    if not has(tvb, at, 9) then return nil, 9 end
    len = 9 + tvb(at + 8, 1):uint()
    if not bit(flags, T.BLOCK_FLAG.ZERO_BLOCK) then len = len + T.BLOCK_CHUNK end
  end
  if not has(tvb, at, len) then return nil, len end
  if tree then
    local x = tree:add(p, tvb(at, len), "Disk record")
    x:add(f.word, tvb(at, 8))
  end
  if bit(flags, T.BLOCK_FLAG.EOS) then s.mode = "section" end
  return len
end

-- multifd -----------------------------------------------------------------------------------------------------------------

local function multifd(tvb, at, s, tree, pinfo)
  local M, S = T.MULTIFD, T.MULTIFD_STATE
  if not s.opened then
    local I = T.MULTIFD_INIT
    if not has(tvb, at, I.total) then return nil, I.total end
    if tree then
      local x = tree:add(p, tvb(at, I.total), "multifd channel " .. tvb(at + I.id, 1):uint())
      x:add(f.mfd_id, tvb(at + I.id, 1))
    end
    s.opened = true
    return I.total
  end
  if not has(tvb, at, S.total) then return nil, S.total end
  if tvb(at + M.magic, 4):uint() ~= T.MULTIFD_MAGIC then return cut("no packet of multifd begins here") end
  local flags = tvb(at + M.flags, 4):uint()
  if bit(flags, T.MULTIFD_FLAG.DEVICE_STATE) then
    if tree then
      local x = tree:add(p, tvb(at, S.total), "multifd packet of device state")
      x:add(f.mfd_flags, tvb(at + S.flags, 4))
      x:add(f.idstr, tvb(at + S.idstr, T.MULTIFD_NAME), tvb(at + S.idstr, T.MULTIFD_NAME):stringz())
      x:add(f.instance, tvb(at + S.instance_id, 4))
      x:add(f.mfd_size, tvb(at + S.size, 4))
    end
    s.skip, s.after, s.mode = tvb(at + S.size, 4):uint(), "multifd", "skip"
    return S.total
  end
  if not has(tvb, at, M.total) then return nil, M.total end
  local normal, size, zero = tvb(at + M.normal_pages, 4):uint(), tvb(at + M.next_packet_size, 4):uint(), tvb(at + M.zero_pages, 4):uint()
  local slots = math.floor(T.MULTIFD_PAGES / p.prefs.page_size)
  if normal + zero > slots then return cut("a packet of " .. normal + zero .. " pages") end
  local pages = M.total + 8 * slots
  local len = pages + (normal > 0 and size or 0)
  if len > PACKET_MAX then return cut("a packet of " .. len .. " bytes") end
  if not has(tvb, at, len) then return nil, len end
  if tree then
    local x = tree:add(p, tvb(at, len), "multifd packet")
    x:add(f.mfd_flags, tvb(at + M.flags, 4))
    x:add(f.mfd_sync, tvb(at + M.flags, 4), bit(flags, T.MULTIFD_FLAG.SYNC))
    local method = math.floor(flags % (T.MULTIFD_METHOD_MASK + 2 ^ T.MULTIFD_METHOD_SHIFT) / 2 ^ T.MULTIFD_METHOD_SHIFT)
    x:add(f.mfd_method, tvb(at + M.flags, 4), method)
    x:add(f.mfd_normal, tvb(at + M.normal_pages, 4))
    x:add(f.mfd_zero, tvb(at + M.zero_pages, 4))
    x:add(f.mfd_size, tvb(at + M.next_packet_size, 4), normal > 0 and size or 0)
    x:add(f.mfd_number, tvb(at + M.packet_number, 8))
    x:add(f.offset, tvb(at, 1), wide(s.pos)):set_generated()
    if normal + zero > 0 then
      local name = tvb(at + M.ramblock, T.MULTIFD_NAME)
      x:add(f.block, name, name:stringz())
    end
    for i = 0, normal - 1 do x:add(f.mfd_page, tvb(at + M.total + 8 * i, 8)) end
    for i = normal, normal + zero - 1 do x:add(f.mfd_zero_page, tvb(at + M.total + 8 * i, 8)) end
    pinfo.cols.info:append(" multifd packet")
  end
  return len
end

-- The connection ----------------------------------------------------------------------------------------------------------

local function pdu(tvb, at, s, tree, pinfo)
  if s.mode == "start" then
    if not has(tvb, at, 8) then return nil, 8 end
    if tree then tree:add(p, tvb(at, 8), "File header"):add(f.version, tvb(at + 4, 4)) end
    s.mode = "section"
    return 8
  elseif s.mode == "ram" then return record(tvb, at, s, tree, pinfo)
  elseif s.mode == "disk" then return disk(tvb, at, s, tree)
  elseif s.mode == "multifd" then return multifd(tvb, at, s, tree, pinfo)
  elseif s.mode == "opaque" or s.mode == "skip" then
    local len = tvb:len() - at
    if s.mode == "skip" then
      len = math.min(len, s.skip)
      s.skip = s.skip - len
      if s.skip == 0 then s.mode, s.after = s.after or "section", nil end
    end
    if tree and len > 0 then tree:add(p, tvb(at, len), "Not dissected"):add(f.opaque, tvb(at, len)) end
    return len
  end
  return section(tvb, at, s, tree)
end

local stream_of, port_of = Field.new("tcp.stream"), Field.new("tcp.srcport")
local sequence_of, length_of = Field.new("tcp.seq_raw"), Field.new("tcp.len")

-- How far sequence number `a` lies ahead of `b`, the short way round.
local function ahead(a, b)
  local d = (a - b) % 2 ^ 32
  return d >= 2 ^ 31 and d - 2 ^ 32 or d
end

local function begin(tvb)
  if tvb:len() < 8 then return nil end
  local magic, version = tvb(0, 4):uint(), tvb(4, 4):uint()
  if magic == T.MAGIC and version == T.VERSION then return { mode = "start", pos = 0 } end
  if magic == T.MULTIFD_MAGIC and version == T.MULTIFD_VERSION then return { mode = "multifd", pos = 0 } end
  return nil
end

local function signature(tvb) return tvb(0, math.min(16, tvb:len())):bytes():tohex() end

-- Where the bytes of a call stand, in the first pass. What waited comes first in what Wireshark put together. Anything
-- else ends where the packet's segment does, or begins there and has what came before its turn behind it.
local function placed(tvb, s, fresh, number)
  local seq, size, len = sequence_of().value, length_of().value, tvb:len()
  if fresh then s.base = seq end
  if s.frame == number then return end
  s.frame = number
  if fresh or s.mode == "opaque" then return end
  local start = (seq + size - len) % 2 ^ 32
  if s.waiting then
    local head = tvb(0, math.min(#s.waiting / 2, len)):bytes():tohex()
    if head == s.waiting:sub(1, #head) then return end
  elseif len > size then
    start = seq
  end
  local distance = ahead(start, (s.base + s.pos) % 2 ^ 32)
  if distance > 0 then s.gap = distance elseif distance < 0 then s.seen = -distance end
end

-- The state before this call: of the first pass it is that of the direction, later the one that was kept.
local function state_of(tvb, pinfo)
  local fr = frames[pinfo.number]
  if pinfo.visited then
    if not fr then return nil end
    fr.cursor = fr.cursor % #fr.calls + 1
    return copy(fr[signature(tvb)] or fr.calls[fr.cursor])
  end
  local key = stream_of().value .. "/" .. port_of().value
  local s, fresh = ways[key], false
  if not s then
    s = begin(tvb)
    if not s then return nil end
    ways[key], fresh = s, true
  end
  placed(tvb, s, fresh, pinfo.number)
  if not fr then fr = { calls = {}, cursor = 0 }; frames[pinfo.number] = fr end
  local kept = copy(s)
  fr.calls[#fr.calls + 1] = kept
  fr[signature(tvb)] = kept
  return s
end

local function mark(tree, tvb, at, s, why)
  local x = tree:add(p, tvb(at), "QEMU migration, not followed")
  x:add_proto_expert_info(lost, "The stream cannot be followed from here: " .. why)
  s.mode = "opaque"
end

function p.dissector(tvb, pinfo, tree)
  local s = state_of(tvb, pinfo)
  if not s then return 0 end
  pinfo.cols.protocol = "QEMU-MIG"
  visited = pinfo.visited
  local at, len = math.min(s.seen or 0, tvb:len()), tvb:len()
  s.seen = nil
  if s.gap and at < len then
    mark(tree, tvb, at, s, s.gap .. " bytes lie between what was read and this; some are missing, or come later (preference tcp.reassemble_out_of_order)")
    s.gap = nil
  end
  if at < len then s.waiting = nil end
  while at < len do
    local try = copy(s)
    local n, wanted, why = pdu(tvb, at, try, nil, pinfo)
    if n then
      pdu(tvb, at, copy(s), tree, pinfo)
      for k in pairs(s) do s[k] = nil end
      for k, v in pairs(try) do s[k] = v end
      s.pos, at = s.pos + n, at + n
    elseif why then
      mark(tree, tvb, at, s, why)
    elseif tvb:reported_length_remaining(0) > len then
      mark(tree, tvb, at, s, "the packet was cut (snapshot length)")
    else
      pinfo.desegment_offset = at
      -- an exact count only where it is the whole PDU's: asked for a header first and the rest later, a second pass loses PDUs
      local exact = wanted >= 1024 and wanted > len - at
      pinfo.desegment_len = exact and wanted - (len - at) or DESEGMENT_ONE_MORE_SEGMENT
      s.waiting = tvb(at, math.min(16, len - at)):bytes():tohex()
      break
    end
  end
  return len
end

local function heuristic(tvb, pinfo, tree)
  if not begin(tvb) then return false end
  pinfo.conversation = p
  p.dissector(tvb, pinfo, tree)
  return true
end
p:register_heuristic("tcp", heuristic)
DissectorTable.get("tcp.port"):add_for_decode_as(p)

-- With tcp.reassemble_out_of_order Wireshark keeps segments behind a gap to itself, and p does not see them. So each packet
-- of a migration's connection that has a gap before it is marked here.
local lost_of = Field.new("tcp.analysis.lost_segment")
local after = Proto("qemu_mig_gap", "QEMU migration, gaps")
function after.dissector(_, pinfo, tree)
  if not lost_of() or frames[pinfo.number] then return end
  if not ways[stream_of().value .. "/" .. port_of().value] then return end
  tree:add(p):add_proto_expert_info(gap, "Bytes before this are missing, or come later: records behind them are not shown until they come")
end
register_postdissector(after)
