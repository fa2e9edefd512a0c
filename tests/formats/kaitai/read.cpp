// read migration PATH START dialect page_size max_records addresses page_sizes
// read multifd PATH page_size
// What the parsers in C++ make of a file, as JSON: read.js says what is in it. `deltas.inc` and `pages.inc` name the
// types of a record's body that have a payload or data: DELTA(type) and PAGE(type).
#include "qemu_migration.h"
#include "qemu_multifd.h"

#include <cstdlib>
#include <fstream>
#include <iostream>
#include <string>

typedef xbrle_layouts_t L;

static const char* const KINDS[] = {"noop", "mem_size", "page", "dup", "xbrle", "xbzrle", "compressed", "hook", "flush", "eos"};

static long payload(kaitai::kstruct* value) {
#define DELTA(type) if (L::type* it = dynamic_cast<L::type*>(value)) return it->payload().size();
#include "deltas.inc"
#define PAGE(type) if (L::type* it = dynamic_cast<L::type*>(value)) return it->data().size();
#include "pages.inc"
    return -1;
}

static long length(qemu_migration_t::record_t* record) {
    bool flat = record->version() == 3; // a body that is not there is not set to anything
    if (flat ? record->flat()->_is_null_body() : record->named()->_is_null_body()) return -1;
    kaitai::kstruct* body = flat ? record->flat()->body() : record->named()->body();
    if (record->kind() == L::RAM_KIND_DUP) return 1;
    if (L::ram_record_3_body_xbrle_t* it = dynamic_cast<L::ram_record_3_body_xbrle_t*>(body)) return payload(it->value());
    if (L::ram_record_4_body_xbrle_t* it = dynamic_cast<L::ram_record_4_body_xbrle_t*>(body)) return payload(it->value());
    if (L::ram_record_3_body_page_t* it = dynamic_cast<L::ram_record_3_body_page_t*>(body)) return payload(it->value());
    return payload(body);
}

static void migration(char** given) {
    std::ifstream file(given[0], std::ios::binary);
    file.seekg(std::strtoull(given[1], 0, 10));
    std::string bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    kaitai::kstream io(bytes);
    qemu_migration_t read(std::atol(given[2]), std::atol(given[3]), std::atol(given[4]), *given[5] == '1', *given[6] == '1', &io);
    std::cout << "{\"records\":[";
    const char* comma = "";
    for (size_t i = 0; i < read.sections()->size(); i++) {
        qemu_migration_t::section_t* section = read.sections()->at(i);
        if (!section->is_ram()) continue;
        for (size_t j = 0; j < section->records()->size(); j++) {
            qemu_migration_t::record_t* r = section->records()->at(j);
            long size = length(r);
            std::cout << comma << "[" << r->offset() << ",\"" << KINDS[r->kind()] << "\"," << r->flags() << "," << r->address() << ",";
            std::cout << (size < 0 ? "null" : std::to_string(size)) << "]";
            comma = ",";
        }
    }
    std::cout << "],\"last\":" << read.sections()->back()->tag() << "}";
}

static void multifd(char** given) {
    std::ifstream file(given[0], std::ios::binary);
    kaitai::kstream io(&file);
    qemu_multifd_t read(std::atol(given[1]), &io);
    std::cout << "[";
    for (size_t i = 0; i < read.packets()->size(); i++) {
        qemu_multifd_t::packet_t* p = read.packets()->at(i);
        std::cout << (i ? ",[" : "[") << p->offset() << ",";
        if (p->is_device_state()) {
            std::cout << "null,null,null,null,";
        } else {
            L::multifd_packet_header_t* h = p->header();
            std::cout << h->packet_number() << "," << h->normal_pages() << "," << h->zero_pages() << ",[";
            for (size_t k = 0; k < h->normal_pages() + h->zero_pages(); k++) std::cout << (k ? "," : "") << p->offsets()->at(k);
            std::cout << "],";
        }
        std::cout << p->data().size() << "]";
    }
    std::cout << "]";
}

int main(int count, char** given) {
    try {
        if (std::string(given[1]) == "migration") migration(given + 2);
        else multifd(given + 2);
    } catch (const std::exception& error) {
        std::cerr << error.what() << std::endl;
        return 1;
    }
    return 0;
}
