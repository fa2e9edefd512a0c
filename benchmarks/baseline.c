/*
 * The algorithm as it was posted in May 2011, page by page and byte by byte, and XBZRLE as QEMU has it since 2012:
 * every path is timed against it, and checked by it. Written from formats/README.md. It is leaner than the original:
 * it does not allocate for a page, and does not copy through a file's buffer.
 */
#include <stdint.h>
#include <string.h>

enum { PAGE = 4096, RUN_MAX = 255, NAME_MAX_BYTES = 255, BLOCKS_MAX = 64 };
enum { COMPRESS = 0x02, MEM_SIZE = 0x04, FULL_PAGE = 0x08, EOS = 0x10, CONTINUE = 0x20, DELTA_V3 = 0x20, DELTA_V4 = 0x40 };
enum { BLOCK_EOS = 2 };
enum { SECTION_EOF = 0, SECTION_START = 1, SECTION_PART = 2, SECTION_END = 3 };
enum { HEADER = 8, HEADER_SUM = 0x2 };

/* -- one page ----------------------------------------------------------------------------------------------------- */

static void xor_page(uint8_t *to, const uint8_t *a, const uint8_t *b)
{
    for (int i = 0; i < PAGE; i++)
        to[i] = a[i] ^ b[i];
}

/* Before each byte, the receiver checks whether the page is full. */
static int expand(const uint8_t *pairs, int length, uint8_t *page)
{
    int filled = 0;
    for (int at = 0; at + 1 < length; at += 2) {
        for (int left = pairs[at]; left > 0; left--) {
            if (filled == PAGE)
                return -1;
            page[filled++] = pairs[at + 1];
        }
    }
    return filled;
}

static int xbrle_decode(const uint8_t *pairs, int length, uint8_t *page)
{
    uint8_t delta[PAGE];
    if (expand(pairs, length, delta) != PAGE)
        return -1;
    xor_page(page, page, delta);
    return 0;
}

/* Writes a pair at each change of byte and at the cap. Returns -1 if it would need more than `most` bytes. */
static int xbrle_encode(const uint8_t *old, const uint8_t *new, uint8_t *pairs, int most)
{
    uint8_t delta[PAGE];
    xor_page(delta, old, new);
    int length = 0, run = 1;
    uint8_t value = delta[0];
    for (int i = 1; i <= PAGE; i++) {
        if (i < PAGE && delta[i] == value && run < RUN_MAX) {
            run++;
            continue;
        }
        if (length + 2 > most)
            return -1;
        pairs[length++] = run;
        pairs[length++] = value;
        run = 1;
        if (i < PAGE)
            value = delta[i];
    }
    return length;
}

static int number(const uint8_t *data, int at, int length, int *value)
{
    if (length - at < 2 || (data[at] & data[at + 1] & 0x80))
        return -1;
    *value = data[at] & 0x7f;
    if (!(data[at] & 0x80))
        return 1;
    *value |= data[at + 1] << 7;
    return 2;
}

static int put_number(uint8_t *out, int value)
{
    if (value < 0x80) {
        out[0] = value;
        return 1;
    }
    out[0] = (value & 0x7f) | 0x80;
    out[1] = value >> 7;
    return 2;
}

static int xbzrle_decode(const uint8_t *data, int length, uint8_t *page)
{
    int at = 0, to = 0;
    while (at < length) {
        int value, size = number(data, at, length, &value);
        if (size < 0 || (at && !value) || to + value > PAGE)
            return -1;
        at += size;
        to += value;
        size = number(data, at, length, &value);
        if (size < 0 || !value || to + value > PAGE || at + size + value > length)
            return -1;
        at += size;
        memcpy(page + to, data + at, value);
        at += value;
        to += value;
    }
    return to;
}

static uint64_t word(const uint8_t *p)
{
    uint64_t w;
    memcpy(&w, p, sizeof w);
    return w;
}

/* Unchanged bytes are skipped a word at a time. */
static int xbzrle_encode(const uint8_t *old, const uint8_t *new, uint8_t *out, int most)
{
    int i = 0, length = 0;
    for (;;) {
        int start = i;
        if (length + 2 > most)
            return -1;
        while (i + 8 <= PAGE && word(old + i) == word(new + i))
            i += 8;
        while (i < PAGE && old[i] == new[i])
            i++;
        if (i == PAGE)
            return length;
        length += put_number(out + length, i - start);
        if (length + 2 > most)
            return -1;
        start = i;
        while (i < PAGE && old[i] != new[i])
            i++;
        length += put_number(out + length, i - start);
        if (length + i - start > most)
            return -1;
        memcpy(out + length, new + start, i - start);
        length += i - start;
        if (i == PAGE)
            return length;
    }
}

static uint32_t byte_sum(const uint8_t *page)
{
    uint32_t sum = 0;
    for (int i = 0; i < PAGE; i++)
        sum += page[i];
    return sum;
}

static int fill_of(const uint8_t *page)
{
    uint32_t repeated = page[0] * 0x01010101u, part;
    for (int i = 0; i < PAGE; i += sizeof part) {
        memcpy(&part, page + i, sizeof part);
        if (part != repeated)
            return -1;
    }
    return page[0];
}

/* -- many pages --------------------------------------------------------------------------------------------------- */

int64_t decode_all(const uint8_t *data, const int64_t *offsets, const int64_t *lengths, int64_t n, uint8_t *pages)
{
    int64_t bad = 0;
    for (int64_t k = 0; k < n; k++)
        bad += xbrle_decode(data + offsets[k], lengths[k], pages + k * PAGE) < 0;
    return bad;
}

int64_t xbzrle_decode_all(const uint8_t *data, const int64_t *offsets, const int64_t *lengths, int64_t n,
                          uint8_t *pages)
{
    int64_t bad = 0;
    for (int64_t k = 0; k < n; k++)
        bad += xbzrle_decode(data + offsets[k], lengths[k], pages + k * PAGE) < 0;
    return bad;
}

/* `out` has room for a page each. Returns the bytes written. */
int64_t encode_all(const uint8_t *old, const uint8_t *new, int64_t n, uint8_t *out, int64_t *lengths)
{
    uint8_t *to = out;
    for (int64_t k = 0; k < n; k++) {
        lengths[k] = xbrle_encode(old + k * PAGE, new + k * PAGE, to, PAGE);
        to += lengths[k] > 0 ? lengths[k] : 0;
    }
    return to - out;
}

int64_t xbzrle_encode_all(const uint8_t *old, const uint8_t *new, int64_t n, uint8_t *out, int64_t *lengths)
{
    uint8_t *to = out;
    for (int64_t k = 0; k < n; k++) {
        lengths[k] = xbzrle_encode(old + k * PAGE, new + k * PAGE, to, PAGE);
        to += lengths[k] > 0 ? lengths[k] : 0;
    }
    return to - out;
}

void sum_all(const uint8_t *pages, int64_t n, uint32_t *sums)
{
    for (int64_t k = 0; k < n; k++)
        sums[k] = byte_sum(pages + k * PAGE);
}

void fill_all(const uint8_t *pages, int64_t n, int16_t *fills)
{
    for (int64_t k = 0; k < n; k++)
        fills[k] = fill_of(pages + k * PAGE);
}

/* -- a whole stream ----------------------------------------------------------------------------------------------- */

enum { KIND_PAGE = 2, KIND_DUP = 3, KIND_XBRLE = 4 };

/* What to do with records. `memory` may be null, then nothing is applied. The columns may be null as well. With
 * `sums` every delta's checksum is compared. `only` is the one page that is applied, or -1; its versions go to
 * `versions`. */
struct task {
    uint8_t *memory;
    uint64_t memory_size;
    int64_t *offset, *address, *length;
    uint8_t *kind;
    int64_t room;
    int64_t sums;
    int64_t only;
    uint8_t *versions;
    int64_t records, wrong_sums, versions_found;
};

struct stream {
    const uint8_t *data;
    uint64_t size, at;
    int version, blocks;
    struct { uint8_t name[NAME_MAX_BYTES + 1]; uint64_t first; } block[BLOCKS_MAX];
    int64_t current;
};

static uint64_t big(const uint8_t *p, int bytes)
{
    uint64_t value = 0;
    while (bytes--)
        value = value << 8 | *p++;
    return value;
}

static int block_list(struct stream *s, uint64_t total)
{
    uint64_t listed = 0;
    while (listed < total) {
        if (s->at >= s->size || s->size - s->at < 9u + s->data[s->at] || s->blocks == BLOCKS_MAX)
            return -1;
        int name = s->data[s->at];
        memcpy(s->block[s->blocks].name, s->data + s->at, name + 1);
        s->block[s->blocks++].first = listed;
        listed += big(s->data + s->at + 1 + name, 8);
        s->at += 9 + name;
    }
    return 0;
}

static int select_block(struct stream *s)
{
    if (s->at >= s->size || s->size - s->at < 1u + s->data[s->at])
        return -1;
    int size = 1 + s->data[s->at];
    for (int b = 0; b < s->blocks; b++) {
        if (!memcmp(s->block[b].name, s->data + s->at, size)) {
            s->current = b;
            s->at += size;
            return 0;
        }
    }
    return -1;
}

static int record(struct task *t, uint64_t where, uint64_t address, int kind, int length)
{
    if (t->offset) {
        if (t->records >= t->room)
            return -1;
        t->offset[t->records] = where;
        t->address[t->records] = address;
        t->length[t->records] = length;
        t->kind[t->records] = kind;
    }
    t->records++;
    return 0;
}

static int apply(struct stream *s, struct task *t, uint64_t place, int kind, int length, const uint8_t *header)
{
    if (!t->memory || (t->only >= 0 && (uint64_t)t->only != place))
        return 0;
    if (place > t->memory_size - PAGE)
        return -1;
    uint8_t *page = t->memory + (t->only >= 0 ? 0 : place);
    const uint8_t *payload = s->data + s->at;
    if (kind == KIND_DUP)
        memset(page, payload[0], PAGE);
    else if (kind == KIND_PAGE)
        memcpy(page, payload, PAGE);
    else if (xbrle_decode(payload, length, page) < 0)
        return -1;
    if (t->sums && kind == KIND_XBRLE && (header[0] & HEADER_SUM)) {
        uint32_t stated;
        memcpy(&stated, header + 4, sizeof stated);
        t->wrong_sums += stated != byte_sum(page);
    }
    if (t->versions)
        memcpy(t->versions + PAGE * t->versions_found++, page, PAGE);
    return 0;
}

static int ram_section(struct stream *s, struct task *t)
{
    const int delta = s->version == 3 ? DELTA_V3 : DELTA_V4;
    for (;;) {
        uint64_t where = s->at;
        if (s->size - s->at < 8)
            return -1;
        uint64_t head = big(s->data + s->at, 8);
        int flags = head & (PAGE - 1);
        uint64_t address = head - flags;
        s->at += 8;
        if (flags & MEM_SIZE && s->version != 3 && block_list(s, address))
            return -1;
        if (flags & (COMPRESS | FULL_PAGE | delta)) {
            if (s->version != 3 && !(flags & CONTINUE) && select_block(s))
                return -1;
            const uint8_t *header = s->data + s->at;
            int kind = flags & COMPRESS ? KIND_DUP : flags & FULL_PAGE ? KIND_PAGE : KIND_XBRLE;
            int length = kind == KIND_DUP ? 1 : PAGE;
            if (kind == KIND_XBRLE) {
                uint16_t stated;
                if (s->size - s->at < HEADER)
                    return -1;
                memcpy(&stated, header + 2, sizeof stated);
                length = stated;
                if (length > PAGE || !(header[0] & 1))
                    return -1;
                s->at += HEADER;
            }
            if (s->size - s->at < (uint64_t)length)
                return -1;
            uint64_t place = address + (s->version == 3 ? 0 : s->block[s->current].first);
            if (record(t, where, address, kind, length) || apply(s, t, place, kind, length, header))
                return -1;
            s->at += length;
        } else if (flags & EOS) {
            return 0;
        }
    }
}

/* Reads a stream of the `posted` or `m115` dialect, little-endian, up to the first section that is neither RAM nor an
 * idle block section. Returns 0 if it could be read that far. */
int64_t receive(const uint8_t *data, uint64_t size, struct task *t)
{
    struct stream s = {.data = data, .size = size, .at = 8};
    uint64_t ram = 0;
    if (size < 8 || big(data, 4) != 0x5145564d)
        return -1;
    while (s.size - s.at >= 5) {
        const uint8_t *head = data + s.at;
        const int type = head[0];
        uint64_t id = big(head + 1, 4);
        if (type == SECTION_START) {
            if (s.size - s.at < 6 || s.size - s.at < 14u + head[5])
                return -1;
            const int name = head[5];
            s.at += 14 + name;
            if (name == 3 && !memcmp(head + 6, "ram", 3)) {
                ram = id;
                s.version = big(head + 6 + name + 4, 4);
            } else if (name != 5 || memcmp(head + 6, "block", 5)) {
                return 0;
            }
        } else if (type == SECTION_PART || type == SECTION_END) {
            s.at += 5;
        } else {
            return 0;
        }
        if (id != ram) {
            if (s.size - s.at < 8 || big(data + s.at, 8) != BLOCK_EOS)
                return -1;
            s.at += 8;
        } else if (ram_section(&s, t)) {
            return -1;
        }
    }
    return s.at < s.size && data[s.at] == SECTION_EOF ? 0 : -1;
}
