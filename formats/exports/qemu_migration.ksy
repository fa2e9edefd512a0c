# Written by hand. SPDX-License-Identifier: Apache-2.0
meta:
  id: qemu_migration
  title: QEMU migration stream, as far as memory goes
  application: QEMU
  file-extension:
    - mig
    - bin
  license: Apache-2.0
  ks-version: '0.10'
  endian: be
  imports:
    - xbrle_layouts
doc: |
  The order in which a stream has its parts: what a PART belongs to, and where it ends. The layouts themselves are
  generated from xbrletools' grammars: xbrle_layouts.ksy, which goes beside this file.

  Reads from "QEVM" to the first section whose data states no length: the first device, or an iterable section of
  another name. What follows is `rest`. Not for mapped-ram, whose pages stand at fixed places of the file, and not for
  multifd's channels, which qemu_multifd.ksy reads.
params:
  - id: dialect
    type: u4
    doc: how deltas read, a value of the enumeration dialect in xbrle_layouts. QEMU since 2012 writes xbzrle
  - id: page_size
    type: u4
    doc: bytes of a page of the target, which is 4096 on x86
  - id: max_records
    type: u4
    doc: stop at the end of the section that has this many RAM records; 0 reads all
  - id: addresses
    type: bool
    doc: whether the block list has guest addresses, as with x-ignore-shared (CONFIGURATION names it)
  - id: page_sizes
    type: bool
    doc: whether the block list can have page sizes, as with postcopy and blocks of large pages
seq:
  - id: header
    type: xbrle_layouts::file_header
  - id: sections
    type: section(_index, _io.pos)
    repeat: until
    repeat-until: _.last or _io.eof
  - id: rest
    size-eos: true
    type: opaque
    doc: the device or other section that states no length and all after it
types:
  opaque: {}
  section:
    params:
      - id: index
        type: s4
      - id: offset
        type: u8
    seq:
      - id: tag
        type: u1
        enum: xbrle_layouts::section_type
      - id: start
        type: xbrle_layouts::section_start
        if: tag == xbrle_layouts::section_type::start or tag == xbrle_layouts::section_type::full
      - id: part
        type: xbrle_layouts::section_part
        if: tag == xbrle_layouts::section_type::part or tag == xbrle_layouts::section_type::end_
      - id: configuration
        type: xbrle_layouts::configuration
        if: tag == xbrle_layouts::section_type::configuration
      - id: command
        type: xbrle_layouts::command_header
        if: tag == xbrle_layouts::section_type::command
      - id: footer_id
        type: u4
        if: tag == xbrle_layouts::section_type::footer
      - id: records
        type: record(_io.pos, ram_version)
        repeat: until
        repeat-until: _.kind == xbrle_layouts::ram_kind::eos
        if: is_ram
      - id: disk
        type: xbrle_layouts::iterable_disk
        if: is_disk
      - id: bitmaps
        type: xbrle_layouts::iterable_dirty_bitmap
        if: is_bitmap
      - id: attributes
        type: xbrle_layouts::iterable_storage_attributes
        if: is_attributes
      - id: htab
        type: xbrle_layouts::iterable_htab
        if: is_htab
    instances:
      before:
        value: index - 1
      is_data:
        value: tag == xbrle_layouts::section_type::start or part_of_one
      part_of_one:
        value: tag == xbrle_layouts::section_type::part or tag == xbrle_layouts::section_type::end_
      id:
        value: 'part_of_one ? part.section_id : tag == xbrle_layouts::section_type::start ? start.section_id : 0xffffffff'
      opens:
        value: 'tag == xbrle_layouts::section_type::start ? start.idstr.text : ""'
        doc: the name of the owner whose data begin here; a PART and an END give its number alone
      ram_id:
        value: 'opens == "ram" ? id : (index > 0 ? _parent.sections[before].ram_id.as<u4> : 0xfffffffe)'
        doc: the number of the section ram up to here
      ram_version:
        value: 'opens == "ram" ? start.version_id : (index > 0 ? _parent.sections[before].ram_version.as<u4> : 4)'
      disk_id:
        value: 'opens == "block" ? id : (index > 0 ? _parent.sections[before].disk_id.as<u4> : 0xfffffffe)'
      bitmap_id:
        value: 'opens == "dirty-bitmap" ? id : (index > 0 ? _parent.sections[before].bitmap_id.as<u4> : 0xfffffffe)'
      attributes_id:
        value: >-
          opens == "s390-storage_attributes" ? id :
          (index > 0 ? _parent.sections[before].attributes_id.as<u4> : 0xfffffffe)
      htab_id:
        value: 'opens == "spapr/htab" ? id : (index > 0 ? _parent.sections[before].htab_id.as<u4> : 0xfffffffe)'
      is_ram:
        value: is_data and id == ram_id
      is_disk:
        value: is_data and id == disk_id
      is_bitmap:
        value: is_data and id == bitmap_id
      is_attributes:
        value: is_data and id == attributes_id
      is_htab:
        value: is_data and id == htab_id
      states_no_length:
        value: is_data and not (is_ram or is_disk or is_bitmap or is_attributes or is_htab)
      num_records:
        value: '(index > 0 ? _parent.sections[before].num_records.as<u4> : 0) + (is_ram ? records.size : 0)'
        doc: of RAM, up to the end of this section
      last:
        value: >-
          tag == xbrle_layouts::section_type::eof or tag == xbrle_layouts::section_type::full or states_no_length or
          (_root.max_records > 0 and num_records >= _root.max_records)
  record:
    doc: one RAM record, in the form of its section's version
    params:
      - id: offset
        type: u8
      - id: version
        type: u4
    seq:
      - id: flat
        type: xbrle_layouts::ram_record_3(_root.dialect, _root.page_size)
        if: version == 3
      - id: named
        type: xbrle_layouts::ram_record_4(_root.addresses, _root.dialect, _root.page_size, _root.page_sizes)
        if: version != 3
    instances:
      kind:
        # the first choice never holds: it tells the compiler for C++ which file has the enumeration
        value: 'false ? xbrle_layouts::ram_kind::noop : version == 3 ? flat.kind : named.kind'
        doc: xbrle for a delta of any dialect
      flags:
        value: 'version == 3 ? flat.flags : named.flags'
      address:
        value: '(version == 3 ? flat.address : named.address).as<u8>'
