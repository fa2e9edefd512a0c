# Written by hand. SPDX-License-Identifier: Apache-2.0
meta:
  id: qemu_multifd
  title: One multifd channel of a QEMU migration
  application: QEMU
  license: Apache-2.0
  ks-version: '0.10'
  endian: be
  imports:
    - xbrle_layouts
doc: |
  The packet that a connection opens with, then packets of pages or of device state. The layouts are generated from
  xbrletools' grammars: xbrle_layouts.ksy, which goes beside this file. The data of a packet are pages as they are, or
  a part of the channel's one zlib or zstd stream: see `method`.
params:
  - id: page_size
    type: u4
    doc: bytes of a page of the target, which is 4096 on x86
seq:
  - id: init
    type: xbrle_layouts::multifd_init
  - id: packets
    type: packet(_io.pos)
    repeat: eos
types:
  packet:
    params:
      - id: offset
        type: u8
    seq:
      - id: device_state
        type: xbrle_layouts::multifd_device_state
        if: is_device_state
      - id: header
        type: xbrle_layouts::multifd_packet_header
        if: not is_device_state
      - id: offsets
        type: u8
        repeat: expr
        repeat-expr: 0x80000 / _root.page_size
        if: not is_device_state
        doc: of the normal pages, then of the zero pages; the others are left over. There is room for 512 KiB of pages, always
      - id: data
        size: len_data
    instances:
      flags:
        pos: offset + 8
        type: u4
      is_device_state:
        value: (flags & 0x40) != 0
      len_data:
        value: 'is_device_state ? device_state.size : header.normal_pages == 0 ? 0 : header.next_packet_size'
      is_sync:
        value: (flags & 1) != 0
      method:
        value: (flags >> 1) & 0x1f
        doc: a value of the enumeration multifd_method in xbrle_layouts
