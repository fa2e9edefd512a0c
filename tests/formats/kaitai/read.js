// node read.js FOLDER: for each line on standard input, a JSON list, what the parsers in FOLDER make of a file.
//   ["migration", PATH, START, dialect, page_size, max_records, addresses, page_sizes] prints a list of
//     [offset, kind, flags, address, payload], and the last section's type
//   ["multifd", PATH, page_size] prints a list of [offset, packet_number, normal, zero, offsets, length of data]
const fs = require('fs')
const path = require('path')
const readline = require('readline')
const folder = path.resolve(process.argv[2])
const KaitaiStream = require('kaitai-struct/KaitaiStream')
const { QemuMigration } = require(path.join(folder, 'QemuMigration'))
const { QemuMultifd } = require(path.join(folder, 'QemuMultifd'))
const { XbrleLayouts } = require(path.join(folder, 'XbrleLayouts'))

function open (file, start) {
  const data = fs.readFileSync(file).subarray(start)
  return new KaitaiStream(data.buffer.slice(data.byteOffset, data.byteOffset + data.length))
}

function payload (record) {
  const kind = XbrleLayouts.RamKind[record.kind]
  const body = (record.version === 3 ? record.flat : record.named).body
  if (kind === 'DUP') return 1
  if (kind === 'PAGE') return (body.value || body).data.length
  if (kind === 'XBRLE') return body.value.payload.length
  return kind === 'COMPRESSED' ? body.data.length : null
}

function migration (file, start, dialect, pageSize, maxRecords, addresses, pageSizes) {
  const io = open(file, start)
  const read = new QemuMigration(io, null, null, dialect, pageSize, maxRecords, addresses, pageSizes)
  const records = []
  for (const section of read.sections) {
    if (!section.isRam) continue
    for (const r of section.records) {
      records.push([r.offset, XbrleLayouts.RamKind[r.kind].toLowerCase(), r.flags, r.address, payload(r)])
    }
  }
  return { records, last: read.sections[read.sections.length - 1].tag }
}

function multifd (file, pageSize) {
  const read = new QemuMultifd(open(file, 0), null, null, pageSize)
  return read.packets.map(p => p.isDeviceState
    ? [p.offset, null, null, null, null, p.data.length]
    : [p.offset, p.header.packetNumber, p.header.normalPages, p.header.zeroPages,
        p.offsets.slice(0, p.header.normalPages + p.header.zeroPages), p.data.length])
}

readline.createInterface({ input: process.stdin }).on('line', line => {
  const [what, ...given] = JSON.parse(line)
  console.log(JSON.stringify(what === 'migration' ? migration(...given) : multifd(...given)))
})
