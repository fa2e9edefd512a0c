/*
 * Answers golden vectors: the codings, headers, byte sums, the page cache, records and memory of plain streams.
 * Written from the format's facts alone and without code of xbrletools, so that each program checks the other.
 *
 * BUG_CAP: build with -DBUG_CAP=254 for a program with a planted bug: an encoder that caps its runs there.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef BUG_CAP
#define CAP BUG_CAP
#else
#define CAP 255
#endif

typedef struct {
    uint8_t *at;
    size_t size;
} Bytes;

static char *words[32];
static int word_count;

static const char *text_of(const char *key)
{
    size_t n = strlen(key);
    for (int i = 1; i < word_count; i++)
        if (!strncmp(words[i], key, n) && words[i][n] == '=')
            return words[i] + n + 1;
    return "";
}

static long number_of(const char *key)
{
    return strtol(text_of(key), NULL, 10);
}

static int digit(char c)
{
    return c <= '9' ? c - '0' : (c | 32) - 'a' + 10;
}

static Bytes bytes_of(const char *key)
{
    const char *text = text_of(key);
    Bytes out = {NULL, strlen(text) / 2};
    out.at = calloc(out.size + 1, 1);
    for (size_t i = 0; i < out.size; i++)
        out.at[i] = (uint8_t)(digit(text[2 * i]) << 4 | digit(text[2 * i + 1]));
    return out;
}

static void put_bytes(const char *key, const uint8_t *at, size_t size)
{
    printf(" %s=", key);
    for (size_t i = 0; i < size; i++)
        printf("%02x", at[i]);
}

/* -- codings --------------------------------------------------------------------------------------------------- */

/* Each encoder writes what it would send without a limit, and returns how many bytes that is. */

static size_t encode_rle(const uint8_t *x, size_t size, uint8_t *out)
{
    size_t n = 0;
    for (size_t i = 0; i < size;) {
        size_t run = 1;
        while (i + run < size && run < CAP && x[i + run] == x[i])
            run++;
        out[n++] = (uint8_t)run;
        out[n++] = x[i];
        i += run;
    }
    return n;
}

static size_t encode_doubled(const uint8_t *x, size_t size, uint8_t *out)
{
    size_t n = 0;
    for (size_t i = 0; i < size;) {
        size_t run = 1;
        while (i + run < size && x[i + run] == x[i] && run < 2 + 255)
            run++;
        out[n++] = x[i];
        if (run > 1) {
            out[n++] = x[i];
            out[n++] = (uint8_t)(run - 2);
        }
        i += run;
    }
    return n;
}

static size_t uleb(size_t value, uint8_t *out)
{
    if (value < 128) {
        out[0] = (uint8_t)value;
        return 1;
    }
    out[0] = (uint8_t)(value % 128 + 128);
    out[1] = (uint8_t)(value / 128);
    return 2;
}

/* *need gets the room that it needs: this encoder wants two free bytes whenever it goes on. */
static size_t encode_zrun(const uint8_t *old, const uint8_t *new, size_t size, uint8_t *out, size_t *need)
{
    size_t n = 0, i = 0;
    *need = 0;
    while (i < size) {
        size_t start = i;
        if (n + 2 > *need)
            *need = n + 2;
        while (i < size && old[i] == new[i])
            i++;
        if (i == size)
            break;
        n += uleb(i - start, out + n);
        if (n + 2 > *need)
            *need = n + 2;
        start = i;
        while (i < size && old[i] != new[i])
            i++;
        n += uleb(i - start, out + n);
        memcpy(out + n, new + start, i - start);
        n += i - start;
    }
    if (n > *need)
        *need = n;
    return n;
}

static int encode(void)
{
    if (!strcmp(text_of("coding"), "doubled-next"))
        return 0;
    Bytes old = bytes_of("old"), new = bytes_of("new");
    const char *coding = text_of("coding");
    size_t limit = (size_t)number_of("limit"), size = old.size, n, need;
    uint8_t *x = malloc(size), *out = malloc(4 * size + 16);
    for (size_t i = 0; i < size; i++)
        x[i] = old.at[i] ^ new.at[i];
    if (!strcmp(coding, "rle"))
        n = need = encode_rle(x, size, out);
    else if (!strcmp(coding, "doubled"))
        n = need = encode_doubled(x, size, out);
    else
        n = encode_zrun(old.at, new.at, size, out, &need);
    if (need > limit)
        printf("verdict=refused reason=overflow");
    else if (!n)
        printf("verdict=unsent");
    else {
        printf("verdict=ok");
        put_bytes("payload", out, n);
    }
    free(x), free(out), free(old.at), free(new.at);
    return 1;
}

/* A decoder changes the page in place and returns 1. On an error it returns 0, and the page may be partly changed. */

static int decode_rle(const uint8_t *in, size_t n, uint8_t *page, size_t size)
{
    size_t at = 0;
    for (size_t i = 0; i + 1 < n; i += 2) {
        if (at + in[i] > size)
            return 0;
        for (int k = 0; k < in[i]; k++)
            page[at++] ^= in[i + 1];
    }
    return at == size;
}

static int decode_doubled(const uint8_t *in, size_t n, uint8_t *page, size_t size)
{
    size_t at = 0;
    int before = -1;
    for (size_t i = 0; i < n;) {
        int byte = in[i++], times = 1;
        if (byte == before) {
            if (i == n)
                return 0;
            times += in[i++];
            before = -1;
        } else {
            before = byte;
        }
        if (at + (size_t)times > size)
            return 0;
        while (times--)
            page[at++] ^= (uint8_t)byte;
    }
    return at == size;
}

static int take(const uint8_t *in, size_t n, size_t *i, size_t *value)
{
    if (n - *i < 2)
        return 0;
    *value = in[(*i)++];
    if (*value < 128)
        return 1;
    if (in[*i] >= 128)
        return 0;
    *value += (size_t)in[(*i)++] * 128 - 128;
    return 1;
}

static int decode_zrun(const uint8_t *in, size_t n, uint8_t *page, size_t size)
{
    size_t i = 0, at = 0, skip, count;
    while (i < n) {
        int first = !i;
        if (!take(in, n, &i, &skip) || (!skip && !first) || at + skip > size)
            return 0;
        at += skip;
        if (!take(in, n, &i, &count) || !count || at + count > size || i + count > n)
            return 0;
        memcpy(page + at, in + i, count);
        at += count, i += count;
    }
    return 1;
}

static int decode(void)
{
    if (!strcmp(text_of("coding"), "doubled-next"))
        return 0;
    Bytes page = bytes_of("old"), in = bytes_of("payload");
    const char *coding = text_of("coding");
    int good;
    if (!strcmp(coding, "rle"))
        good = decode_rle(in.at, in.size, page.at, page.size);
    else if (!strcmp(coding, "doubled"))
        good = decode_doubled(in.at, in.size, page.at, page.size);
    else
        good = decode_zrun(in.at, in.size, page.at, page.size);
    printf("verdict=%s", good ? "ok" : "refused");
    if (good)
        put_bytes("page", page.at, page.size);
    free(page.at), free(in.at);
    return 1;
}

static int sum(void)
{
    Bytes page = bytes_of("page");
    uint32_t total = 0;
    for (size_t i = 0; i < page.size; i++)
        total += page.at[i];
    printf("sum=%lu", (unsigned long)total);
    free(page.at);
    return 1;
}

/* -- headers --------------------------------------------------------------------------------------------------- */

/* One letter a byte of a field: f flags, p padding, l length, c checksum, s sequence. */
typedef struct {
    const char *name, *layout;
    int always_big, counted, version;
} Dialect;

static const Dialect dialects[] = {
    {"sep10", "fll", 1, 3, 3},      {"sep20", "fpll", 0, 4, 3},           {"nov03a", "fpllcccc", 0, 0, 3},
    {"nov03b", "fpllccccssss", 0, 0, 3}, {"nov09", "fpllcccc", 0, 0, 3},  {"m115", "fpllcccc", 0, 0, 3},
    {"m115dbg", "fpllcccc", 0, 0, 3},    {"lm2", "fpll", 0, 0, 4},        {"lm2dbg", "fpllcccc", 0, 0, 4},
    {"posted", "fpllcccc", 0, 0, 4},     {"xbzrle-rfc", "fllcccc", 1, 0, 4}, {"xbzrle", "fll", 1, 0, 4},
};
static const char *const field_names[] = {"flags", "padding", "length", "checksum", "sequence"};

static const Dialect *dialect_of(void)
{
    for (size_t i = 0; i < sizeof dialects / sizeof *dialects; i++)
        if (!strcmp(text_of("dialect"), dialects[i].name))
            return &dialects[i];
    return NULL;
}

/* The place of byte k of a field, counted from the most significant byte. */
static uint32_t field(const uint8_t *at, const char *layout, char letter, int big)
{
    uint32_t value = 0;
    size_t first = strcspn(layout, (char[]){letter, 0}), count = 0;
    while (layout[first + count] == letter)
        count++;
    for (size_t k = 0; k < count; k++)
        value = value << 8 | at[first + (big ? k : count - 1 - k)];
    return value;
}

static int header_read(void)
{
    const Dialect *d = dialect_of();
    Bytes in = bytes_of("bytes");
    if (!d || in.size != strlen(d->layout))
        return 0;
    int big = d->always_big || !strcmp(text_of("endian"), "big");
    uint32_t length = field(in.at, d->layout, 'l', big);
    printf("follows=%lu", length > (uint32_t)d->counted ? (unsigned long)length - (unsigned long)d->counted : 0UL);
    for (int i = 0; i < 5; i++)
        if (strchr(d->layout, field_names[i][0]))
            printf(" %s=%lu", field_names[i], (unsigned long)field(in.at, d->layout, field_names[i][0], big));
    free(in.at);
    return 1;
}

static int header_write(void)
{
    const Dialect *d = dialect_of();
    uint8_t out[16] = {0};
    if (!d)
        return 0;
    int big = d->always_big || !strcmp(text_of("endian"), "big");
    for (int i = 0; i < 5; i++) {
        size_t first = strcspn(d->layout, (char[]){field_names[i][0], 0}), count = 0;
        unsigned long value = strtoul(text_of(field_names[i]), NULL, 10);
        while (d->layout[first + count] == field_names[i][0])
            count++;
        for (size_t k = 0; k < count; k++)
            out[first + (big ? count - 1 - k : k)] = (uint8_t)(value >> (8 * k));
    }
    put_bytes("bytes", out, strlen(d->layout));
    return 1;
}

/* -- the page cache: slots with ages, as in the patch ------------------------------------------------------------ */

static int cache(void)
{
    long ways = number_of("ways"), buckets = number_of("cache") / (number_of("page_size") * ways), items = 0;
    if (buckets < 1) {
        printf("verdict=refused");
        return 1;
    }
    long *page = calloc((size_t)(buckets * ways), sizeof *page), *age = calloc((size_t)(buckets * ways), sizeof *age);
    long now = 0;
    printf("verdict=ok buckets=%ld held=", buckets);
    for (const char *at = text_of("pages"); *at;) {
        char *end;
        long number = strtol(at, &end, 10), bucket = (number & (buckets - 1)) * ways, oldest = bucket, found = 0;
        for (long w = bucket; w < bucket + ways; w++) {
            found |= age[w] && page[w] == number;
            if (age[w] < age[oldest])
                oldest = w;
        }
        putchar(found ? '1' : '0');
        items += !age[oldest];
        page[oldest] = number;
        age[oldest] = ++now;
        at = *end ? end + 1 : end;
    }
    printf(" items=%ld", items);
    free(page), free(age);
    return 1;
}

/* -- streams of 2010 and 2011: QEVM, RAM versions 3 and 4 -------------------------------------------------------- */

enum { PAGE = 4096, BLOCKS = 8 };

typedef struct {
    uint8_t name[255];
    size_t name_size, length;
    uint8_t *data;
} Block;

typedef struct {
    Bytes in;
    size_t at;
    int failed, version, block_count, listing;
    long ram, records;
    Block blocks[BLOCKS], *now;
} Stream;

static uint64_t be(Stream *s, int count)
{
    uint64_t value = 0;
    if (s->at + (size_t)count > s->in.size) {
        s->failed = 1;
        return 0;
    }
    while (count--)
        value = value << 8 | s->in.at[s->at++];
    return value;
}

static const uint8_t *some(Stream *s, size_t count)
{
    if (count > s->in.size - s->at) {
        s->failed = 1;
        return NULL;
    }
    s->at += count;
    return s->in.at + s->at - count;
}

static void add_block(Stream *s, const uint8_t *name, size_t size, uint64_t length)
{
    if (s->failed || s->block_count == BLOCKS || length > 1 << 24) {
        s->failed = 1;
        return;
    }
    Block *b = &s->blocks[s->block_count++];
    memcpy(b->name, name, size);
    b->name_size = size;
    b->length = (size_t)length;
    b->data = calloc(b->length, 1);
}

static void found(Stream *s, const char *kind, uint64_t address, size_t length)
{
    if (!s->listing)
        return;
    printf(s->records++ ? ",%s:" : " records=%s:", kind);
    for (size_t i = 0; i < s->now->name_size; i++)
        printf("%02x", s->now->name[i]);
    printf(":%lu:%lu", (unsigned long)address, (unsigned long)length);
}

static void delta(Stream *s, uint64_t address, uint8_t *page)
{
    const Dialect *d = dialect_of();
    const uint8_t *header = d ? some(s, strlen(d->layout)) : NULL;
    if (!header) {
        s->failed = 1;
        return;
    }
    int big = d->always_big || !strcmp(text_of("endian"), "big"), zrun = !strncmp(d->name, "xbzrle", 6);
    size_t length = field(header, d->layout, 'l', big) - (uint32_t)d->counted;
    const uint8_t *in = some(s, length);
    if (!in)
        return;
    found(s, zrun ? "xbzrle" : "xbrle", address, length);
    if (zrun)
        decode_zrun(in, length, page, PAGE);
    else if (!strcmp(d->name, "sep10"))
        decode_doubled(in, length, page, PAGE);
    else
        decode_rle(in, length, page, PAGE);
}

static void ram_section(Stream *s)
{
    const char *name = text_of("dialect");
    int sums = !strcmp(name, "nov09") || !strcmp(name, "m115dbg");
    int mark = s->version == 3 ? 0x20 : 0x40;
    while (!s->failed) {
        uint64_t word = be(s, 8), address = word & ~(uint64_t)(PAGE - 1);
        int flags = (int)(word & (PAGE - 1));
        if (flags & 0x04) {
            if (s->version == 3)
                add_block(s, (const uint8_t *)"ram", 3, address);
            for (uint64_t seen = 0; s->version == 4 && seen < address && !s->failed;) {
                size_t size = (size_t)be(s, 1);
                const uint8_t *name_at = some(s, size);
                uint64_t length = be(s, 8);
                add_block(s, name_at, size, length);
                seen += length;
            }
            s->now = s->version == 3 ? s->blocks : s->now;
        }
        if (flags & (0x02 | 0x08 | mark)) {
            if (s->version == 4 && !(flags & 0x20)) {
                size_t size = (size_t)be(s, 1);
                const uint8_t *name_at = some(s, size);
                s->now = NULL;
                for (int i = 0; name_at && i < s->block_count; i++)
                    if (s->blocks[i].name_size == size && !memcmp(s->blocks[i].name, name_at, size))
                        s->now = &s->blocks[i];
            }
            if (!s->now || address >= s->now->length) {
                s->failed = 1;
                return;
            }
            uint8_t *page = s->now->data + address;
            if (flags & 0x02) {
                memset(page, (int)be(s, 1), PAGE);
                found(s, "dup", address, 1);
            } else if (flags & 0x08) {
                if (sums)
                    be(s, 4);
                const uint8_t *data = some(s, PAGE);
                if (data)
                    memcpy(page, data, PAGE);
                found(s, "page", address, PAGE);
            } else {
                delta(s, address, page);
            }
        }
        if (flags & 0x10)
            return;
    }
}

static void block_section(Stream *s)
{
    if (be(s, 8) != 2) /* the vectors have only EOS here */
        s->failed = 1;
}

static void read_stream(Stream *s)
{
    if (be(s, 4) != 0x5145564d || be(s, 4) != 3)
        s->failed = 1;
    while (!s->failed) {
        int type = (int)be(s, 1);
        if (!type)
            return;
        if (type > 3) {
            s->failed = 1;
            return;
        }
        long id = (long)be(s, 4);
        if (type == 1) {
            size_t size = (size_t)be(s, 1);
            const uint8_t *name = some(s, size);
            be(s, 4);
            int version = (int)be(s, 4);
            if (name && size == 3 && !memcmp(name, "ram", 3)) {
                s->ram = id;
                s->version = version;
            }
        }
        if (id == s->ram)
            ram_section(s);
        else
            block_section(s);
    }
}

static uint32_t crc32_of(const uint8_t *at, size_t size)
{
    uint32_t crc = ~(uint32_t)0;
    for (size_t i = 0; i < size; i++) {
        crc ^= at[i];
        for (int k = 0; k < 8; k++)
            crc = crc >> 1 ^ (crc & 1 ? 0xedb88320U : 0);
    }
    return ~crc;
}

static int stream(int listing)
{
    Stream s = {.listing = listing, .ram = -1};
    if (!strcmp(text_of("dialect"), "sep20") || !strcmp(text_of("view"), "sender"))
        return 0;
    if (*text_of("dialect") && !dialect_of()) /* a dialect that is newer than this program */
        return 0;
    s.in = bytes_of("stream");
    if (listing)
        printf("page_size=%d", PAGE);
    read_stream(&s);
    if (listing)
        printf(" verdict=%s", s.failed ? "refused" : "ok");
    else
        printf("crc32=");
    for (int i = 0; i < s.block_count; i++) {
        Block *b = &s.blocks[i];
        if (!listing) {
            for (size_t k = 0; k < b->name_size; k++)
                printf(k || !i ? "%02x" : ",%02x", b->name[k]);
            printf(":%lu:%08lx", (unsigned long)b->length, (unsigned long)crc32_of(b->data, b->length));
        }
        free(b->data);
    }
    free(s.in.at);
    return 1;
}

/* -- the protocol ------------------------------------------------------------------------------------------------ */

static int answer(void)
{
    const char *op = words[0];
    if (!strcmp(op, "encode"))
        return encode();
    if (!strcmp(op, "decode"))
        return decode();
    if (!strcmp(op, "sum"))
        return sum();
    if (!strcmp(op, "header-read"))
        return header_read();
    if (!strcmp(op, "header-write"))
        return header_write();
    if (!strcmp(op, "cache"))
        return cache();
    if (!strcmp(op, "records"))
        return stream(1);
    if (!strcmp(op, "memory"))
        return stream(0);
    return 0;
}

int main(void)
{
    static char line[1 << 24];
    while (fgets(line, sizeof line, stdin)) {
        word_count = 0;
        for (char *word = strtok(line, " \n"); word && word_count < 32; word = strtok(NULL, " \n"))
            words[word_count++] = word;
        if (!word_count || !answer())
            printf("unsupported");
        putchar('\n');
        fflush(stdout);
    }
    return 0;
}
