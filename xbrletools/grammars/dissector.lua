-- A PDU is the file header, a section's header, a RAM record with its page, a footer, a command, or a packet of multifd.
--
-- What a byte means depends on all before it. So each direction of a connection has a state that goes from PDU to PDU.
-- Wireshark dissects a packet again in any order: the state before each call is kept by packet. It is some ten values.
-- From the first device on the stream does not say lengths, and the rest is shown as one. Where bytes are missing or come
-- in another order, a mark says so, and the connection is not followed from there on.

local p = Proto("qemu_mig", "QEMU migration")
local f = p.fields
local E, N, types = L.enums, L.numbers, L.types

local function flipped(names)
  local numbers = {}
  for number, name in pairs(names) do numbers[name] = number end
  return numbers
end
local PART, FLAG, KIND = flipped(E.section_type), flipped(E.ram_flag), flipped(E.ram_kind)
local DISK_FLAG, PACKET_FLAG = flipped(E.block_flag), flipped(E.multifd_flag)
local RAM, DISK = "ram", "block" -- sections, by their owners
local ROWS = { ["dirty-bitmap"] = "iterable_dirty_bitmap", ["s390-storage_attributes"] = "iterable_storage_attributes", ["spapr/htab"] = "iterable_htab" }
local FRAMING_MAX = 65536 -- bytes of a list or a command that are waited for
local PACKET_MAX = 4 * 1024 * 1024 -- bytes of a packet of multifd

f.version = ProtoField.uint32("qemu_mig.version", "File version")
f.part = ProtoField.uint8("qemu_mig.part", "Part", base.HEX, E.section_type)
f.section_id = ProtoField.uint32("qemu_mig.section_id", "Section id")
f.idstr = ProtoField.string("qemu_mig.idstr", "Owner")
f.instance = ProtoField.uint32("qemu_mig.instance_id", "Instance")
f.sversion = ProtoField.uint32("qemu_mig.version_id", "Section version")
f.machine = ProtoField.string("qemu_mig.machine", "Machine")
f.capability = ProtoField.string("qemu_mig.capability", "Capability")
f.command = ProtoField.uint16("qemu_mig.command", "Command", base.DEC, E.command)
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
f.mfd_method = ProtoField.uint32("qemu_mig.multifd.method", "Method", base.DEC, E.multifd_method)
f.mfd_normal = ProtoField.uint32("qemu_mig.multifd.normal", "Normal pages")
f.mfd_zero = ProtoField.uint32("qemu_mig.multifd.zero", "Zero pages")
f.mfd_size = ProtoField.uint32("qemu_mig.multifd.size", "Data size")
f.mfd_number = ProtoField.uint64("qemu_mig.multifd.number", "Packet number")
f.mfd_page = ProtoField.uint64("qemu_mig.multifd.page", "Page", base.HEX)
f.mfd_zero_page = ProtoField.uint64("qemu_mig.multifd.zero_page", "Zero page", base.HEX)
local flag_fields = {}
for value, name in pairs(E.ram_flag) do flag_fields[#flag_fields + 1] = { name, value } end
table.sort(flag_fields, function(a, b) return a[2] < b[2] end)
for _, flag in ipairs(flag_fields) do
  f["flag_" .. flag[1]] = ProtoField.bool("qemu_mig.flags." .. flag[1]:lower(), flag[1], 16, nil, flag[2])
end
local lost = ProtoExpert.new("qemu_mig.lost", "The stream cannot be followed from here", expert.group.SEQUENCE, expert.severity.WARN)
local gap = ProtoExpert.new("qemu_mig.gap", "Bytes before this are missing, or come later", expert.group.SEQUENCE, expert.severity.WARN)
p.experts = { lost, gap }

local choices, chosen = { { 1, "found by itself", 0 } }, {}
for _, i in ipairs(L.tried) do
  local name = L.readings[i].dialect
  if chosen[#chosen] ~= name then
    chosen[#chosen + 1] = name
    choices[#choices + 1] = { #chosen + 1, name, #chosen }
  end
end
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

-- Where a field of a type stands, its bytes and their order.
local function place(name, field)
  for _, one in ipairs(types[name]) do
    if one[1] == field then
      while one.of do one = one.of end
      return { types[name].at[field], one.size, one.order }
    end
  end
end

-- A type of the layouts, `skip` bytes behind `at`: its fields and where it ends, counted from `at`. Else as each reader.
local function layout(name, tvb, at, skip, most, params)
  most = most or FRAMING_MAX
  local there, room = math.min(tvb:len() - at, most), 512
  local value, ends, needs = L.read(name, tvb:raw(at, math.min(there, room)), skip, params)
  if needs and there > room then value, ends, needs = L.read(name, tvb:raw(at, there), skip, params) end
  if value then return value, ends end
  if not needs then return cut(ends) end
  if needs > most then return cut(name .. " of " .. needs .. " bytes") end
  return nil, needs
end

-- The bytes of a field of what `layout` gave.
local function range(tvb, at, value, field)
  local from = value._at[field]
  return tvb(at + from[1], from[2] - from[1])
end

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
    if v >= N.xbzrle_uleb_more then
      if i >= to then return nil end
      v = v % N.xbzrle_uleb_more + b:get_index(i) * N.xbzrle_uleb_more
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

for _, r in pairs(L.readings) do
  r.size, r.length, r.checksum = types[r.header].size, place(r.header, "length"), place(r.header, "checksum")
end

local function number(tvb, at, where)
  local bytes = tvb(at + where[1], where[2])
  return where[3] == "le" and bytes:le_uint() or bytes:uint()
end

-- A delta's payload, as its place and length behind `at`.
local function payload_of(tvb, at, reading)
  if not has(tvb, at, reading.size) then return nil end
  return reading.size, number(tvb, at, reading.length) - reading.counts
end

-- Whether a reading can be that of a stream, by the preferences and by what was seen before its first delta.
local function eligible(r, s)
  if r.version ~= s.v or (p.prefs.endian ~= 0 and r.order and (r.order == "little") ~= (p.prefs.endian == 1)) then return false end
  if p.prefs.dialect ~= 0 then return r.dialect == chosen[p.prefs.dialect] end
  return (r.configured or not s.configuration) and (s.page_sum == nil or (r.page_sum or false) == s.page_sum)
end

-- How the first delta reads: the first reading in which it comes to a page. nil, and the bytes that it takes to tell.
local function detect(tvb, at, s)
  local page_size, needs = p.prefs.page_size, 0
  for _, i in ipairs(L.tried) do
    local r = L.readings[i]
    local head, length = nil, nil
    if eligible(r, s) then
      head, length = payload_of(tvb, at, r)
      if not head then needs = math.max(needs, r.size) end
    end
    if head and length >= 0 and length <= r.pages * page_size then
      if p.prefs.dialect ~= 0 and (p.prefs.endian ~= 0 or not r.order) then return r, 0 end
      if not has(tvb, at, head + length) then
        needs = math.max(needs, head + length)
      else
        local runs, _, total = coding[r.coding](tvb:bytes(at, head + length), head, head + length)
        if runs and (total == page_size or (r.coding == "ZRUN" and total <= page_size and length > 0)) then return r, 0 end
      end
    end
  end
  return nil, needs
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
  local value, len, why = layout("configuration", tvb, at, 1)
  if not value then return nil, len, why end
  if not next_is_there(tvb, at, len) then return nil, len + 1 end
  if has(tvb, at, len + 1) and tvb(at + len, 1):uint() == PART.SUBSECTION then
    local head, needs = layout("subsection_header", tvb, at, len)
    if head and not types.configuration_subsection[4].cases[head.idstr] then
      return cut("a subsection of CONFIGURATION that is not known")
    end
    return nil, head and len + 1 or needs
  end
  local caps = {}
  for _, one in ipairs(value.subsections) do
    local names = one.data.names
    local from = names and names._at.items[1]
    for _, name in ipairs(names and names.items or {}) do
      caps[#caps + 1] = { name, at + from + 1 }
      from = from + 1 + #name
      if name == "x-ignore-shared" then s.addresses = true end
    end
  end
  if tree then
    local x = section_tree(tree, tvb, at, len, "CONFIGURATION", s)
    x:add(f.machine, range(tvb, at, value, "machine"))
    for _, cap in ipairs(caps) do x:add(f.capability, tvb(cap[2], #cap[1])) end
  end
  s.configuration = true
  return len
end

local function section(tvb, at, s, tree)
  local t = tvb(at, 1):uint()
  if t == PART.FOOTER then
    local value, len, why = layout("footer", tvb, at, 0)
    if value and tree then section_tree(tree, tvb, at, len, "Footer", s):add(f.section_id, range(tvb, at, value, "section_id")) end
    return value and len, len, why
  elseif t == PART.START or t == PART.FULL then
    local value, len, why = layout("section_start", tvb, at, 1)
    if not value then return nil, len, why end
    local name = value.idstr
    if tree then
      local x = section_tree(tree, tvb, at, len, "Section " .. E.section_type[t] .. " " .. value.section_id .. " " .. name, s)
      x:add(f.section_id, range(tvb, at, value, "section_id"))
      x:add(f.idstr, range(tvb, at, value, "idstr"), name)
      x:add(f.instance, range(tvb, at, value, "instance_id"))
      x:add(f.sversion, range(tvb, at, value, "version_id"))
    end
    s.mode = "opaque"
    if t == PART.START and name == RAM then
      s.ram, s.v = value.section_id, value.version_id
      if L.kinds[s.v] then s.mode = "ram" end
    elseif t == PART.START and name == DISK then
      s.disk, s.mode = value.section_id, "disk"
    elseif t == PART.START and ROWS[name] then
      s.others, s.rows, s.fresh, s.mode = copy(s.others or {}), ROWS[name], true, "rows"
      s.others[value.section_id] = ROWS[name]
    end
    return len
  elseif t == PART.PART or t == PART.END then
    local value, len, why = layout("section_part", tvb, at, 1)
    if not value then return nil, len, why end
    local id = value.section_id
    if tree then section_tree(tree, tvb, at, len, "Section " .. E.section_type[t] .. " " .. id, s):add(f.section_id, range(tvb, at, value, "section_id")) end
    s.rows, s.fresh = s.others and s.others[id], true
    s.mode = id == s.ram and "ram" or id == s.disk and "disk" or s.rows and "rows" or "opaque"
    return len
  elseif t == PART.CONFIGURATION then
    return configuration(tvb, at, s, tree)
  elseif t == PART.COMMAND then
    local value, len, why = layout("command_header", tvb, at, 1)
    if not value then return nil, len, why end
    if tree then section_tree(tree, tvb, at, len, "COMMAND", s):add(f.command, range(tvb, at, value, "command")) end
    if E.command[value.command] == "PACKAGED" and value.length == types.packaged.size then
      s.skip, s.mode = L.read("packaged", value.data).size, "skip"
    end
    return len
  elseif t == PART.EOF then
    if tree then section_tree(tree, tvb, at, 1, "EOF", s) end
    s.mode = "opaque"
    return 1
  end
  return cut(string.format("no section begins with the byte 0x%02x", t))
end

-- RAM ---------------------------------------------------------------------------------------------------------------------

local WORD = place("ram_record_4", "word")[2]

-- The block list whose lengths come to `total`, read with or without page sizes: its length, and its entries.
local function listed(tvb, at, s, total, page_sizes)
  local len, sum, entries = WORD, 0, {}
  while sum < total do
    local here = at + len
    local entry, ends, why = layout("ram_listed_block", tvb, here, 0, nil, { addresses = s.addresses, page_sizes = page_sizes })
    if not entry then return nil, ends and len + ends, why end
    if entry.length <= 0 or #entry.idstr == 0 then return cut("a RAM block without a name or a length") end
    local name, size = entry._at.idstr, entry._at.length
    entries[#entries + 1] = { here + name[1] + 1, name[2] - name[1] - 1, entry.length, here + size[1], entry.idstr }
    sum, len = sum + entry.length, len + ends
    if len > FRAMING_MAX then return cut("a block list of more than " .. FRAMING_MAX .. " bytes") end
  end
  return len, entries
end

-- The list does not say whether it has page sizes. Without them none of what follows looks like one, and names have bytes.
local function block_list(tvb, at, s, total)
  local len, entries, why = listed(tvb, at, s, total, false)
  if why or (len and not s.addresses and has(tvb, at, len + WORD)) then
    local sized, more, no = listed(tvb, at, s, total, true)
    if why or sized then len, entries, why = sized, more, no end
  end
  if not len then return nil, entries, why end
  local blocks = {}
  for _, e in ipairs(entries) do blocks[e[5]] = e[3] end
  return len, entries, nil, blocks
end

local function delta_payload(tvb, at, s)
  if not s.reading then
    local found, needs = detect(tvb, at, s)
    if not found and needs > 0 and not has(tvb, at, needs) then return nil, 1 end
    if not found then return cut("a delta that reads in no dialect; say which one in the preferences") end
    s.reading = found
  end
  local head, length = payload_of(tvb, at, s.reading)
  if not head then return nil, s.reading.size end
  if length < 0 or length > s.reading.pages * p.prefs.page_size then return cut("a delta of " .. length .. " bytes") end
  return head, length
end

local function record_tree(tree, tvb, at, len, s, r, pinfo)
  local label = E.ram_kind[r.kind]:lower()
  if r.kind == KIND.XBRLE and s.reading and s.reading.coding == "ZRUN" then label = "xbzrle" end
  local place = r.paged and string.format(" %s:0x%x", r.name or "?", r.address) or ""
  local x = tree:add(p, tvb(at, len), "Record " .. label .. place)
  x:add(f.word, tvb(at, WORD))
  local flags = x:add(tvb(at + WORD - 2, 2), string.format("Flags: 0x%03x", r.flags))
  for _, flag in ipairs(flag_fields) do flags:add(f["flag_" .. flag[1]], tvb(at + WORD - 2, 2)) end
  x:add(f.kind, tvb(at, WORD), label)
  x:add(f.offset, tvb(at, WORD), wide(s.pos)):set_generated()
  for _, e in ipairs(r.entries) do x:add(f.listed, tvb(e[1], e[2])):add(f.listed_length, tvb(e[4], 8)) end
  if r.paged then
    if r.name_at then x:add(f.block, tvb(r.name_at[1], r.name_at[2])) elseif r.name then x:add(f.block, r.name):set_generated() end
    x:add(f.page, tvb(at, WORD), wide(r.address))
    local from, size = at + r.payload, len - r.payload
    x:add(f.length, tvb(from, size), size)
    if r.kind == KIND.DUP then
      x:add(f.fill, tvb(from, 1))
    elseif r.kind == KIND.XBRLE then
      local head, sum = tvb(from - s.reading.size, s.reading.size), s.reading.checksum
      x:add(f.dialect, s.reading.dialect):set_generated()
      x:add(f.header, head)
      if sum then x:add(f.checksum, head(sum[1], sum[2]), number(tvb, from - s.reading.size, sum)) end
      local runs, changed = 0, 0
      if size > 0 then runs, changed = coding[s.reading.coding](tvb:bytes(from, size), 0, size) end
      if runs then
        x:add(f.runs, tvb(from, size), runs):set_generated()
        x:add(f.changed, tvb(from, size), changed):set_generated()
      end
    end
    if size > 0 then x:add(f.data, tvb(from, size)) end
  end
  pinfo.cols.info:append(" " .. label)
end

local SUM -- bytes of the sum before a page
for i, r in pairs(L.readings) do
  if r.page_sum then SUM = types["ram_record_3_body_page_" .. i].at.data end
end
local PAGED = { [KIND.DUP] = true, [KIND.PAGE] = true, [KIND.XBRLE] = true, [KIND.COMPRESSED] = true }

-- Whether pages have a sum of their bytes before them, as debug builds of 2010 wrote them. nil where it takes more bytes.
local function has_sums(tvb, at, s)
  if s.v ~= N.ram_version_flat then return false end
  if s.page_sum ~= nil then return s.page_sum end
  for _, r in pairs(L.readings) do
    if s.reading == r or r.dialect == chosen[p.prefs.dialect] then return r.page_sum or false end
  end
  local page_size = p.prefs.page_size
  if not has(tvb, at, SUM + page_size) then return nil end
  local b, sum = tvb:bytes(at + SUM, page_size), 0
  for i = 0, page_size - 1 do sum = sum + b:get_index(i) end
  return sum == tvb(at, SUM):uint()
end

local function record(tvb, at, s, tree, pinfo)
  if not has(tvb, at, WORD) then return nil, WORD end
  local page_size = p.prefs.page_size
  local high, low = tvb(at, 4):uint(), tvb(at + 4, 4):uint()
  local r = { flags = low % math.min(page_size, N.ram_flag_values), entries = {}, payload = WORD }
  r.address = high * 2 ^ 32 + low - low % page_size
  if low % page_size >= N.ram_flag_values then return cut("no record's word: flags that are not known") end
  for _, rule in ipairs(L.kinds[s.v]) do
    if bit(r.flags, rule[1]) then r.kind = rule[2]; break end
  end
  if not r.kind then return cut("no record's word") end
  r.paged = PAGED[r.kind]
  local len, blocks, named = WORD, nil, s.v ~= N.ram_version_flat
  if bit(r.flags, FLAG.MEM_SIZE) and named then
    local list, more, why, found = block_list(tvb, at, s, r.address)
    if not list then return nil, more, why end
    len, r.entries, blocks = list, more, found
  end
  r.name = s.name
  if r.paged and named and not bit(r.flags, FLAG.CONTINUE) then
    local name, ends, why = layout("id_str", tvb, at, len)
    if not name then return nil, ends, why end
    r.name_at, r.name, len = { at + len + 1, ends - len - 1 }, name, ends
  end
  local known = blocks or s.blocks
  if r.paged and named and known and not (known[r.name] and r.address < known[r.name]) then
    return cut("a page outside of the RAM blocks")
  end
  r.payload = len
  if r.kind == KIND.DUP then
    len = len + types.ram_record_4_body_dup.size
  elseif r.kind == KIND.PAGE then
    local sums = has_sums(tvb, at + len, s)
    if sums == nil then return nil, 1 end
    s.page_sum = sums
    if sums then r.payload = len + SUM end
    len = r.payload + page_size
  elseif r.kind == KIND.COMPRESSED then
    local head = types.ram_compressed_page.at.data
    if not has(tvb, at, len + head) then return nil, len + head end
    local size = tvb(at + len, head):uint()
    if size > 2 * page_size then return cut("a packed page of " .. size .. " bytes") end
    r.payload, len = len + head, len + head + size
  elseif r.kind == KIND.XBRLE then
    local head, length, why = delta_payload(tvb, at + len, s)
    if not head then return nil, length and math.max(1, length), why end
    r.payload, len = len + head, len + head + length
  end
  if not has(tvb, at, len) then return nil, len end
  if tree then record_tree(tree, tvb, at, len, s, r, pinfo) end
  s.name, s.blocks = r.name, known
  if r.kind == KIND.EOS then s.mode = "section" end
  return len
end

local function disk(tvb, at, s, tree)
  local name_at = types.block_record.at.name
  if not has(tvb, at, name_at) then return nil, name_at end
  local flags, len = tvb(at + name_at - 2, 2):uint() % 2 ^ N.block_sector_bits, name_at
  if bit(flags, DISK_FLAG.DEVICE_BLOCK) then
    local name, ends, why = layout("id_str", tvb, at, len)
    if not name then return nil, ends, why end
    len = bit(flags, DISK_FLAG.ZERO_BLOCK) and ends or ends + N.block_chunk
  end
  if not has(tvb, at, len) then return nil, len end
  if tree then
    local x = tree:add(p, tvb(at, len), "Disk record")
    x:add(f.word, tvb(at, name_at))
  end
  if bit(flags, DISK_FLAG.EOS) then s.mode = "section" end
  return len
end

-- Other sections that iterate: rows of records, in which the last one says so. htab has a number before them.
local function row_tree(tree, tvb, at, len, s, what)
  tree:add(p, tvb(at, len), what .. " of " .. s.rows):add(f.offset, tvb(at, 1), wide(s.pos)):set_generated()
end

local function rows(tvb, at, s, tree)
  local fields = types[s.rows]
  local row, head = fields[#fields], fields.at[fields[#fields][1]]
  local fresh, row_is_there = s.fresh, row.condition
  s.fresh = false
  while row.form ~= "row" do row = row.of end
  if fresh and head > 0 then
    if not has(tvb, at, head) then return nil, head end
    if not row_is_there({ [fields[1][1]] = tvb(at, head):uint() }) then s.mode = "section" end
    if tree then row_tree(tree, tvb, at, head, s, fields[1][1]) end
    return head
  end
  local value, len, why = layout(row.of.name, tvb, at, 0, PACKET_MAX)
  if not value then return nil, len, why end
  if tree then row_tree(tree, tvb, at, len, s, "Record") end
  if row.last(nil, {}, value) then s.mode = "section" end
  return len
end

-- multifd -----------------------------------------------------------------------------------------------------------------

local INIT, PACKET, STATE = types.multifd_init, types.multifd_packet_header, types.multifd_device_state
local PAGE_OFFSET = 8 -- bytes of a page's offset in a packet

-- The bytes of a field of a type that begins at `at`.
local function part(tvb, at, name, field)
  local where = place(name, field)
  return tvb(at + where[1], where[2])
end

local function multifd(tvb, at, s, tree, pinfo)
  if not s.opened then
    if not has(tvb, at, INIT.size) then return nil, INIT.size end
    if tree then
      local id = part(tvb, at, "multifd_init", "id")
      tree:add(p, tvb(at, INIT.size), "multifd channel " .. id:uint()):add(f.mfd_id, id)
    end
    s.opened = true
    return INIT.size
  end
  if not has(tvb, at, STATE.size) then return nil, STATE.size end
  local function of(field) return part(tvb, at, "multifd_packet_header", field) end
  if of("magic"):uint() ~= N.multifd_magic then return cut("no packet of multifd begins here") end
  local flags = of("flags"):uint()
  if bit(flags, PACKET_FLAG.DEVICE_STATE) then
    local size = part(tvb, at, "multifd_device_state", "size")
    if tree then
      local x = tree:add(p, tvb(at, STATE.size), "multifd packet of device state")
      local name = part(tvb, at, "multifd_device_state", "idstr")
      x:add(f.mfd_flags, of("flags"))
      x:add(f.idstr, name, name:stringz())
      x:add(f.instance, part(tvb, at, "multifd_device_state", "instance_id"))
      x:add(f.mfd_size, size)
    end
    s.skip, s.after, s.mode = size:uint(), "multifd", "skip"
    return STATE.size
  end
  if not has(tvb, at, PACKET.size) then return nil, PACKET.size end
  local normal, size, zero = of("normal_pages"):uint(), of("next_packet_size"):uint(), of("zero_pages"):uint()
  local slots = math.floor(N.multifd_packet_pages / p.prefs.page_size)
  if normal + zero > slots then return cut("a packet of " .. normal + zero .. " pages") end
  local len = PACKET.size + PAGE_OFFSET * slots + (normal > 0 and size or 0)
  if len > PACKET_MAX then return cut("a packet of " .. len .. " bytes") end
  if not has(tvb, at, len) then return nil, len end
  if tree then
    local x, flag_bytes, unit = tree:add(p, tvb(at, len), "multifd packet"), of("flags"), 2 ^ N.multifd_method_shift
    x:add(f.mfd_flags, flag_bytes)
    x:add(f.mfd_sync, flag_bytes, bit(flags, PACKET_FLAG.SYNC))
    x:add(f.mfd_method, flag_bytes, math.floor(flags % (N.multifd_method_mask + unit) / unit))
    x:add(f.mfd_normal, of("normal_pages"))
    x:add(f.mfd_zero, of("zero_pages"))
    x:add(f.mfd_size, of("next_packet_size"), normal > 0 and size or 0)
    x:add(f.mfd_number, of("packet_number"))
    x:add(f.offset, tvb(at, 1), wide(s.pos)):set_generated()
    if normal + zero > 0 then x:add(f.block, of("ramblock"), of("ramblock"):stringz()) end
    for i = 0, normal + zero - 1 do
      x:add(i < normal and f.mfd_page or f.mfd_zero_page, tvb(at + PACKET.size + PAGE_OFFSET * i, PAGE_OFFSET))
    end
    pinfo.cols.info:append(" multifd packet")
  end
  return len
end

-- The connection ----------------------------------------------------------------------------------------------------------

local function pdu(tvb, at, s, tree, pinfo)
  if s.mode == "start" then
    local value, len, why = layout("file_header", tvb, at, 0)
    if not value then return nil, len, why end
    if tree then tree:add(p, tvb(at, len), "File header"):add(f.version, range(tvb, at, value, "version")) end
    s.mode = "section"
    return len
  elseif s.mode == "ram" then return record(tvb, at, s, tree, pinfo)
  elseif s.mode == "disk" then return disk(tvb, at, s, tree)
  elseif s.mode == "rows" then return rows(tvb, at, s, tree)
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
  if magic == N.qevm_magic and version == N.qevm_version then return { mode = "start", pos = 0 } end
  if magic == N.multifd_magic and version == N.multifd_version then return { mode = "multifd", pos = 0 } end
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

-- With tcp.reassemble_out_of_order Wireshark keeps segments behind a gap to itself, and p does not see them. Without it, p
-- does not see a segment that came after its turn. So each packet of a migration's connection that has a gap before it is
-- marked here, and the beginning of a migration that came after its turn.
local lost_of, late_of, again_of = Field.new("tcp.analysis.lost_segment"), Field.new("tcp.analysis.out_of_order"), Field.new("tcp.analysis.retransmission")
local payload_field = Field.new("tcp.payload")
local after = Proto("qemu_mig_gap", "QEMU migration, gaps")
function after.dissector(_, pinfo, tree)
  if frames[pinfo.number] or not stream_of() then return end
  local known = ways[stream_of().value .. "/" .. port_of().value]
  if lost_of() and known then
    tree:add(p):add_proto_expert_info(gap, "Bytes before this are missing, or come later: records behind them are not shown until they come")
  elseif (late_of() or again_of()) and payload_field() and not known and begin(payload_field().range:tvb()) then
    tree:add(p):add_proto_expert_info(lost, "The stream cannot be followed from here: a migration begins here, behind segments that came earlier (preference tcp.reassemble_out_of_order)")
  end
end
register_postdissector(after)
