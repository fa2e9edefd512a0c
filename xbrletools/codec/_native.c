/*
 * The loops whose steps depend on each other, which arrays cannot express: the walk from record to record, and the runs
 * of one delta, read and written. Also what is done with pages that lie anywhere, which arrays would have to put side by
 * side first: copying them, summing them, and testing whether all bytes of a page are the same.
 *
 * These loops are optional. NumPy does the same work; it is the reference, and tests compare the two. The caller takes
 * all layouts from formats/ and passes them in. The loops read and write only inside the buffers that they are given,
 * whatever those contain. They release the interpreter's lock while they work.
 */
#define PY_SSIZE_T_CLEAN
#ifndef Py_GIL_DISABLED /* which does not have the stable interface */
#define Py_LIMITED_API 0x030B0000 /* one build serves every Python from 3.11 on */
#endif
#include <Python.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#if defined __SSE2__
#include <emmintrin.h>
#endif
#if defined __linux__
#include <sys/mman.h>
enum { SMALLEST = 4096, POPULATE = 23 }; /* MADV_POPULATE_WRITE, from Linux 5.14 on; an older one refuses it */
#endif

enum { REVISION = 9 }; /* of the arguments and their meaning: native.py does not use a build of another revision */
enum { VERDICT_OK, VERDICT_SHORT, VERDICT_LONG, VERDICT_BAD_NUMBER, VERDICT_CUT, VERDICT_ZERO_RUN }; /* verdict.py */
enum { NOT_UNIFORM = -1 }; /* uniform.py */

/* -- buffers ------------------------------------------------------------------------------------------------------ */

typedef struct {
    uint8_t width;              /* bytes of an item */
    uint8_t dimensions;
    uint8_t is_written;
} Wanted;

static void release(Py_buffer *taken, int count)
{
    for (int i = 0; i < count; i++)
        PyBuffer_Release(&taken[i]);
}

/* Take the buffers of `count` objects, all contiguous and aligned; 0, or -1 with an exception set and none taken. */
static int take(PyObject *const *objects, const Wanted *wanted, int count, Py_buffer *taken)
{
    for (int i = 0; i < count; i++) {
        const int access = wanted[i].is_written ? PyBUF_ND | PyBUF_WRITABLE : PyBUF_ND;
        if (PyObject_GetBuffer(objects[i], &taken[i], access) < 0) {
            release(taken, i);
            return -1;
        }
        if (taken[i].itemsize != wanted[i].width || taken[i].ndim != wanted[i].dimensions
            || (uintptr_t)taken[i].buf % wanted[i].width) {
            release(taken, i + 1);
            PyErr_Format(PyExc_ValueError, "buffer %d: items of %d bytes in %d dimensions are wanted", i,
                         wanted[i].width, wanted[i].dimensions);
            return -1;
        }
    }
    return 0;
}

#define BUFFERS_MAX 16 /* of one tuple */

/* Take the buffers that a tuple of just `count` objects holds; as `take`. */
static int take_tuple(PyObject *objects, const Wanted *wanted, int count, Py_buffer *taken)
{
    PyObject *each[BUFFERS_MAX];
    if (PyTuple_Size(objects) != count || count > BUFFERS_MAX) {
        PyErr_Format(PyExc_ValueError, "a tuple of %d buffers is wanted", count);
        return -1;
    }
    for (int i = 0; i < count; i++)
        each[i] = PyTuple_GetItem(objects, i);
    return take(each, wanted, count, taken);
}

/* How many items a buffer has in its first dimension. */
static int64_t items(const Py_buffer *buffer)
{
    return buffer->shape[0];
}

/* -- the walk over records ---------------------------------------------------------------------------------------- */

/* The three lists below have their names and order in Python as well: DTYPES of table/columns.py, Tables and Layout of
   native.py. A test compares them. */

typedef enum { OFFSET, ADDRESS, LENGTH, CHECKSUM, FLAGS, BLOCK, HEAD, KIND, HEADER_FLAGS, COLUMNS } Column;

static const Wanted columns_wanted[COLUMNS] = {
    [OFFSET] = {8, 1, 1}, [ADDRESS] = {8, 1, 1}, [LENGTH] = {4, 1, 1}, [CHECKSUM] = {4, 1, 1},     [FLAGS] = {2, 1, 1},
    [BLOCK] = {2, 1, 1},  [HEAD] = {2, 1, 1},    [KIND] = {1, 1, 1},   [HEADER_FLAGS] = {1, 1, 1},
};

typedef enum {
    KINDS,                      /* by the flags of a record's word: its kind, */
    HEADS,                      /* the bytes before its payload, */
    LENGTHS,                    /* the bytes of its payload, 0 where the record says it */
    SIZES,                      /* by the low byte of the flags: the bytes of the record, 0 where that varies */
    TABLES
} Table;

static const Wanted tables_wanted[TABLES] = {
    [KINDS] = {1, 1, 0}, [HEADS] = {2, 1, 0}, [LENGTHS] = {4, 1, 0}, [SIZES] = {4, 1, 0},
};

typedef enum {
    WORD_BYTES,                 /* of a record's word: only WORD is accepted */
    NUMBER_BYTES,               /* of a number behind it: only WIDE is accepted */
    SUM_KIND,                   /* the kind whose pages come after their sum, a big-endian number; -1: none does */
    DELTA_FLAGS,                /* of a delta; -1 where none is known. A place counts from the word's first byte: */
    DELTA_LENGTH_AT,            /* the place of its length field, */
    DELTA_LENGTH_BYTES,         /* the bytes of that, */
    DELTA_IS_BIG,               /* whether it and the checksum are big-endian, */
    DELTA_FLAGS_AT,             /* the place of its header's flags, */
    DELTA_CHECKSUM_AT,          /* the place of its checksum; -1: it has none */
    DELTA_LEAST,                /* what its length field may hold; the payload has as many bytes as that exceeds this */
    DELTA_MOST,
    DELTA_BESIDE,               /* bytes of a delta, less what its length field holds */
    PACKED_FLAGS,               /* of a page that came as a zlib stream, their low byte; -1 where there can be none */
    PACKED_HIGH,                /* the same, above the low byte, */
    PACKED_HIGH_AT,             /* their place, */
    PACKED_HIGH_MASK,           /* the bits there that are flags */
    PACKED_LENGTH_AT,           /* the place of its length, a big-endian number */
    PACKED_MAGIC_AT,            /* the place of what the zlib stream begins with, */
    PACKED_MAGIC_MASK,          /* the bits there that are known, */
    PACKED_MAGIC,               /* and their value */
    PACKED_MOST,                /* what the length may be; it is at least 1 */
    PACKED_BESIDE,              /* bytes of such a record beside the zlib stream */
    PLACES
} Place;

static const Wanted places_wanted = {8, 1, 0};

enum { WORD = 8, WIDE = 4 };    /* bytes of a record's word, and of a number behind it */
enum { AHEAD = 6 };             /* records of one size that are fetched before they are looked at */
enum { FLAG_BYTES = 256 };      /* values of the low byte of the flags */

typedef struct {
    const uint8_t *data;
    int64_t size;               /* bytes of it */
    int64_t base;               /* what the offset of its first byte is in the capture */
    int64_t at, limit;          /* the first record, and where none begins any more */
    int64_t row, rows;          /* the first row to fill, and how many there are */
    uint16_t block;             /* that is selected */
} Task;

typedef struct {
    uint64_t *offset, *address;
    uint32_t *length, *checksum;
    uint16_t *flags, *block, *head;
    uint8_t *kind, *header_flags;
} Columns;

typedef struct {
    const uint8_t *kinds;
    const uint16_t *heads;
    const uint32_t *lengths, *sizes;
    uint64_t mask;              /* the bits of a word that are flags */
} Tables;

static uint64_t number_at(const uint8_t *field, int bytes, int is_big)
{
    uint64_t number = 0;
    for (int i = 0; i < bytes; i++)
        number = number << 8 | field[is_big ? i : bytes - 1 - i];
    return number;
}

static uint64_t word_at(const uint8_t *at) /* written out, a compiler makes one load of it */
{
    return (uint64_t)at[0] << 56 | (uint64_t)at[1] << 48 | (uint64_t)at[2] << 40 | (uint64_t)at[3] << 32
           | (uint64_t)at[4] << 24 | (uint64_t)at[5] << 16 | (uint64_t)at[6] << 8 | at[7];
}

/* Store records; *next is where one begins whose size is not known, or bad. Returns how many it stored. */
static int64_t records(const Task task, const Columns to, const Tables tables, const int64_t *layout, int64_t *next)
{
    const int64_t sum_kind = layout[SUM_KIND], delta = layout[DELTA_FLAGS], packed = layout[PACKED_FLAGS];
    const int64_t length_at = layout[DELTA_LENGTH_AT], length_bytes = layout[DELTA_LENGTH_BYTES];
    const int64_t flags_at = layout[DELTA_FLAGS_AT], checksum_at = layout[DELTA_CHECKSUM_AT];
    const int64_t least = layout[DELTA_LEAST], most = layout[DELTA_MOST], beside = layout[DELTA_BESIDE];
    const int is_big = layout[DELTA_IS_BIG] != 0;
    int64_t at = task.at, row = task.row;
    uint64_t same = ~(uint64_t)0; /* the flags of the record before, where they tell its size, */
    int64_t same_step = 0;        /* and that size: a branch is foretold, a size from a table is waited for */
    while (row < task.rows && at < task.limit && at <= task.size - WORD) {
        const uint8_t *record = task.data + at;
        const int64_t left = task.size - at;
        const uint64_t word = word_at(record), flags = word & tables.mask;
        const uint8_t low = (uint8_t)word, kind = tables.kinds[flags];
        const int64_t head = tables.heads[flags];
        int64_t step, length = tables.lengths[flags];
        if (flags == same) {
            step = same_step;
#if defined __GNUC__
            if (AHEAD * step < left)
                __builtin_prefetch(record + AHEAD * step);
            __asm__("" : "+r"(step)); /* else a compiler may choose between the two sizes without a branch */
#endif
        } else {
            step = tables.sizes[low];
            same = step ? flags : ~(uint64_t)0;
            same_step = step;
        }
        uint64_t checksum = 0;
        uint8_t header_flags = 0;
        if (head > left)
            break;
        if (step) {
            if (kind == sum_kind && head >= WIDE)
                checksum = number_at(record + head - WIDE, WIDE, 1);
        } else if (low == delta && length_at + length_bytes <= left && flags_at < left && checksum_at + WIDE <= left) {
            const int64_t field = (int64_t)number_at(record + length_at, (int)length_bytes, is_big);
            if (field < least || field > most)
                break;
            step = beside + field;
            length = field - least;
            header_flags = record[flags_at];
            if (checksum_at >= 0)
                checksum = number_at(record + checksum_at, WIDE, is_big);
        } else if (low == packed && layout[PACKED_MAGIC_AT] < left && layout[PACKED_LENGTH_AT] + WIDE <= left
                   && (record[layout[PACKED_HIGH_AT]] & layout[PACKED_HIGH_MASK]) == layout[PACKED_HIGH]
                   && (record[layout[PACKED_MAGIC_AT]] & layout[PACKED_MAGIC_MASK]) == layout[PACKED_MAGIC]) {
            length = (int64_t)number_at(record + layout[PACKED_LENGTH_AT], WIDE, 1);
            if (length < 1 || length > layout[PACKED_MOST])
                break;
            step = layout[PACKED_BESIDE] + length;
        } else {
            break;
        }
        to.offset[row] = (uint64_t)task.base + (uint64_t)at;
        to.address[row] = word & ~tables.mask;
        to.length[row] = (uint32_t)length;
        to.checksum[row] = (uint32_t)checksum;
        to.flags[row] = (uint16_t)flags;
        to.block[row] = task.block;
        to.head[row] = (uint16_t)head;
        to.kind[row] = kind;
        to.header_flags[row] = header_flags;
        row++;
        at += step;
    }
    *next = at;
    return row - task.row;
}

enum { FAR = 1 << 16 }; /* from a record's beginning: no header is that long */

static int is_between(int64_t least, int64_t number, int64_t most)
{
    return least <= number && number <= most;
}

/* Whether a walk by this layout stays inside the data, and moves on with each record. */
static int is_sound(const int64_t *layout)
{
    return layout[WORD_BYTES] == WORD && layout[NUMBER_BYTES] == WIDE && is_between(0, layout[DELTA_LENGTH_AT], FAR)
           && is_between(1, layout[DELTA_LENGTH_BYTES], WIDE) && is_between(0, layout[DELTA_FLAGS_AT], FAR)
           && is_between(-1, layout[DELTA_CHECKSUM_AT], FAR) && is_between(0, layout[DELTA_LEAST], FAR)
           && is_between(1 - layout[DELTA_LEAST], layout[DELTA_BESIDE], FAR)
           && is_between(0, layout[PACKED_LENGTH_AT], FAR) && is_between(0, layout[PACKED_MAGIC_AT], FAR)
           && is_between(0, layout[PACKED_HIGH_AT], layout[PACKED_MAGIC_AT])
           && is_between(0, layout[PACKED_BESIDE], FAR);
}

/* Whether all tables and columns have the sizes that the walk takes them to have. */
static int is_fitting(const Py_buffer *columns, const Py_buffer *tables)
{
    const int64_t rows = items(&columns[OFFSET]), flags = items(&tables[KINDS]);
    for (int i = 0; i < COLUMNS; i++)
        if (items(&columns[i]) != rows)
            return 0;
    return flags >= 1 && !(flags & (flags - 1)) && items(&tables[HEADS]) == flags && items(&tables[LENGTHS]) == flags
           && items(&tables[SIZES]) == FLAG_BYTES;
}

/* walk(data, base, at, limit, row, block, columns, tables, layout): how many records it stored, and where it ended. */
static PyObject *walk(PyObject *self, PyObject *arguments)
{
    static const Wanted data_wanted = {1, 1, 0};
    PyObject *data_given, *columns_given, *tables_given, *layout_given, *result = NULL;
    Py_buffer data, layout, columns[COLUMNS], tables[TABLES];
    long long base, at, limit, row;
    unsigned short block;
    int64_t count = 0, next = 0;
    if (!PyArg_ParseTuple(arguments, "OLLLLHO!O!O", &data_given, &base, &at, &limit, &row, &block, &PyTuple_Type,
                          &columns_given, &PyTuple_Type, &tables_given, &layout_given))
        return NULL;
    if (take(&data_given, &data_wanted, 1, &data) < 0)
        return NULL;
    if (take(&layout_given, &places_wanted, 1, &layout) < 0)
        goto no_layout;
    if (take_tuple(columns_given, columns_wanted, COLUMNS, columns) < 0)
        goto no_columns;
    if (take_tuple(tables_given, tables_wanted, TABLES, tables) < 0)
        goto no_tables;
    int64_t places[PLACES]; /* a copy: nobody changes it after the check */
    if (items(&layout) == PLACES)
        memcpy(places, layout.buf, sizeof places);
    if (base < 0 || at < 0 || !is_between(0, row, items(&columns[OFFSET])) || items(&layout) != PLACES
        || !is_sound(places) || !is_fitting(columns, tables)) {
        PyErr_SetString(PyExc_ValueError, "not a layout of records");
    } else {
        const Task task = {data.buf, data.len, base, at, limit, row, items(&columns[OFFSET]), block};
        const Columns to = {columns[OFFSET].buf, columns[ADDRESS].buf, columns[LENGTH].buf,
                            columns[CHECKSUM].buf, columns[FLAGS].buf, columns[BLOCK].buf,
                            columns[HEAD].buf, columns[KIND].buf, columns[HEADER_FLAGS].buf};
        const Tables meaning = {tables[KINDS].buf, tables[HEADS].buf, tables[LENGTHS].buf, tables[SIZES].buf,
                                (uint64_t)items(&tables[KINDS]) - 1};
        Py_BEGIN_ALLOW_THREADS
        count = records(task, to, meaning, places, &next);
        Py_END_ALLOW_THREADS
        result = Py_BuildValue("LL", (long long)count, (long long)next);
    }
    release(tables, TABLES);
no_tables:
    release(columns, COLUMNS);
no_columns:
    PyBuffer_Release(&layout);
no_layout:
    PyBuffer_Release(&data);
    return result;
}

/* -- deltas ------------------------------------------------------------------------------------------------------- */

typedef struct {
    const uint8_t *data;
    int64_t length;
} Payload;

/* (run, byte) pairs. All or nothing, so their runs are added up first. */
static int put_pairs(Payload delta, uint8_t *page, int64_t page_size, int run_at, int byte_at)
{
    const uint8_t *runs = delta.data + run_at, *bytes = delta.data + byte_at;
    const int64_t end = delta.length & ~(int64_t)1;
    int64_t total = 0, to = 0;
    for (int64_t i = 0; i < end; i += 2)
        total += runs[i];
    if (total != page_size)
        return total < page_size ? VERDICT_SHORT : VERDICT_LONG;
    for (int64_t i = 0; i < end; i += 2) {
        const uint8_t run = runs[i], byte = bytes[i];
        if (run > page_size - to) /* changed since they were added up: the file is written while it is read */
            return VERDICT_LONG;
        if (byte && run == 1)
            page[to] ^= byte;
        else if (byte)
            for (int j = 0; j < run; j++)
                page[to + j] ^= byte;
        to += run;
    }
    return VERDICT_OK;
}

/* The number at `*at`, which moves behind it; -1 where a receiver refuses what stands there. */
static int64_t number(Payload delta, int64_t *at, int more, int bits)
{
    if (delta.length - *at < 2)
        return -1;
    const uint8_t low = delta.data[*at], high = delta.data[*at + 1];
    *at += 1;
    if (low < more)
        return low;
    if (high >= more)
        return -1;
    *at += 1;
    return (low & (more - 1)) | (int64_t)high << bits;
}

/* The next run of unchanged bytes and of new ones, tested in the receiver's order. `*at` comes to the new bytes, which
   go to `*to` in the page. */
static inline int next_run(Payload delta, int64_t page_size, int more, int bits, int64_t *at, int64_t *to,
                           int64_t *count)
{
    const int is_first = !*at;
    int64_t unchanged;
    if (delta.length - *at > 2 && delta.data[*at] < more && delta.data[*at + 1] < more) { /* most are so short */
        unchanged = delta.data[*at];
        *count = delta.data[*at + 1];
        *at += 2;
    } else {
        unchanged = number(delta, at, more, bits);
        if (unchanged < 0)
            return VERDICT_BAD_NUMBER;
        if (!unchanged && !is_first)
            return VERDICT_ZERO_RUN;
        if (*to + unchanged > page_size)
            return VERDICT_LONG;
        *count = number(delta, at, more, bits);
        if (*count < 0)
            return VERDICT_BAD_NUMBER;
    }
    if (!unchanged && !is_first)
        return VERDICT_ZERO_RUN;
    *to += unchanged;
    if (*to > page_size)
        return VERDICT_LONG;
    if (!*count)
        return VERDICT_ZERO_RUN;
    if (*to + *count > page_size)
        return VERDICT_LONG;
    return *count > delta.length - *at ? VERDICT_CUT : VERDICT_OK;
}

enum { RUNS_MOST = 320 };       /* runs that are remembered: more would make room on the stack expensive */
enum { RUNS_PAGE = 1 << 24 };   /* bytes of a page up to which they are: what is read of its delta then has 32 bits */
enum { BLOCK_BYTES = 16 };      /* that are copied at once */

typedef struct {
    uint32_t from, to, count;
} Run;

static void copy_run(uint8_t *to, const uint8_t *from, int64_t count)
{
    if (count == 1) {
        *to = *from;
    } else if (count < BLOCK_BYTES) {
        memmove(to, from, (size_t)count);
    } else {
        for (int64_t at = 0; at + BLOCK_BYTES < count; at += BLOCK_BYTES)
            memmove(to + at, from + at, BLOCK_BYTES);
        memmove(to + count - BLOCK_BYTES, from + count - BLOCK_BYTES, BLOCK_BYTES); /* may overlap the one before */
    }
}

/* Reads all runs before it writes any, so that a page whose delta is not OK stays as it was. What it read it does not
   read again: the runs are remembered, and of a delta with more runs than have room, the others are read twice. */
static int put_runs(Payload delta, uint8_t *page, int64_t page_size, int more, int bits)
{
    Run runs[RUNS_MOST];
    int64_t at = 0, to = 0, count = 0, found = 0, rest = -1, rest_to = 0;
    while (at < delta.length) {
        if ((found == RUNS_MOST || page_size > RUNS_PAGE) && rest < 0) {
            rest = at;
            rest_to = to;
        }
        const int verdict = next_run(delta, page_size, more, bits, &at, &to, &count);
        if (verdict)
            return verdict;
        if (rest < 0)
            runs[found++] = (Run){(uint32_t)at, (uint32_t)to, (uint32_t)count};
        at += count;
        to += count;
    }
    for (int64_t k = 0; k < found; k++)
        copy_run(page + runs[k].to, delta.data + runs[k].from, runs[k].count);
    for (at = rest, to = rest_to; at >= 0 && at < delta.length; at += count, to += count) {
        const int verdict = next_run(delta, page_size, more, bits, &at, &to, &count);
        if (verdict)            /* the file was written meanwhile */
            return verdict;
        copy_run(page + to, delta.data + at, count);
    }
    return VERDICT_OK;
}

/* A whole page, as it stands in the stream. */
static int put_page(Payload page, uint8_t *to, int64_t page_size, int one, int other)
{
    if (page.length != page_size)
        return page.length < page_size ? VERDICT_SHORT : VERDICT_LONG;
    memmove(to, page.data, (size_t)page_size);
    return VERDICT_OK;
}

typedef int Put(Payload, uint8_t *, int64_t, int, int);

/* apply(data, offsets, lengths, pages, rows, verdicts, layout): put delta k into page rows[k]. `check_deltas` and
   `check_rows` have checked the arguments. This checks them again: here a wrong one would touch other memory. */
static PyObject *apply(PyObject *arguments, Put *put, int is_layout(int, int))
{
    enum { DATA, OFFSETS, PAYLOADS, PAGES, ROWS, VERDICTS, ALL };
    static const Wanted wanted[ALL] = {
        [DATA] = {1, 1, 0}, [OFFSETS] = {8, 1, 0}, [PAYLOADS] = {8, 1, 0},
        [PAGES] = {1, 2, 1}, [ROWS] = {8, 1, 0},   [VERDICTS] = {1, 1, 1},
    };
    PyObject *given[ALL];
    Py_buffer all[ALL];
    int one, other; /* what the coding needs to know of its layout */
    if (!PyArg_ParseTuple(arguments, "OOOOOO(ii)", &given[DATA], &given[OFFSETS], &given[PAYLOADS], &given[PAGES],
                          &given[ROWS], &given[VERDICTS], &one, &other)
        || take(given, wanted, ALL, all) < 0)
        return NULL;
    const int64_t count = items(&all[VERDICTS]), last = items(&all[PAGES]), page_size = all[PAGES].shape[1];
    const int64_t *offset = all[OFFSETS].buf, *length = all[PAYLOADS].buf, *row = all[ROWS].buf, size = all[DATA].len;
    uint8_t *verdict = all[VERDICTS].buf;
    int is_right = page_size > 0 && items(&all[OFFSETS]) == count && items(&all[PAYLOADS]) == count
                   && items(&all[ROWS]) == count && is_layout(one, other);
    if (is_right) {
        Py_BEGIN_ALLOW_THREADS
        for (int64_t k = 0; k < count; k++) {
            const int64_t at = offset[k], to = row[k];
            const int64_t bytes = length[k];
            is_right = is_between(0, bytes, size) && is_between(0, at, size - bytes) && is_between(0, to, last - 1);
            if (!is_right)
                break;
            const Payload delta = {(const uint8_t *)all[DATA].buf + at, bytes};
            verdict[k] = (uint8_t)put(delta, (uint8_t *)all[PAGES].buf + to * page_size, page_size, one, other);
        }
        Py_END_ALLOW_THREADS
    }
    release(all, ALL);
    if (!is_right) {
        PyErr_SetString(PyExc_ValueError, "deltas and pages do not fit each other");
        return NULL;
    }
    Py_RETURN_NONE;
}

static int is_pair(int run_at, int byte_at)
{
    return (run_at == 0 && byte_at == 1) || (run_at == 1 && byte_at == 0);
}

static int is_number(int more, int bits)
{
    return more > 0 && more < 256 && bits >= 0 && bits <= 8;
}

static int is_nothing(int one, int other)
{
    return !one && !other;
}

static PyObject *xor_pairs(PyObject *self, PyObject *arguments)
{
    return apply(arguments, put_pairs, is_pair);
}

static PyObject *copy_runs(PyObject *self, PyObject *arguments)
{
    return apply(arguments, put_runs, is_number);
}

static PyObject *copy_pages(PyObject *self, PyObject *arguments)
{
    return apply(arguments, put_page, is_nothing);
}

/* -- the form of deltas ------------------------------------------------------------------------------------------------ */

/* Whether pairs come to one page and are not what the encoder would write for it: a run of 0, or one that goes on from the
   run before it, which was not full. No branches in the loops: a compiler makes vectors of them. */
static int is_unusual(Payload delta, int64_t page_size, int run_at, int byte_at)
{
    enum { TURN = 4096 };       /* pairs, so that their runs add up in 32 bits */
    const uint8_t *runs = delta.data + run_at, *bytes = delta.data + byte_at;
    const int64_t count = delta.length / 2;
    int64_t total = 0;
    uint8_t found = 0;
    if (delta.length & 1)
        return 0;
    for (int64_t first = 0; first < count; first += TURN) {
        const int64_t end = count - first < TURN ? count : first + TURN;
        uint32_t part = 0;
        uint8_t none = 0, more = 0;
        for (int64_t i = first; i < end; i++) {
            part += runs[2 * i];
            none |= runs[2 * i] == 0;
        }
        for (int64_t i = first ? first : 1; i < end; i++)
            more |= (bytes[2 * i] == bytes[2 * i - 2]) & (runs[2 * i - 2] != UINT8_MAX);
        total += part;
        found |= none | more;
    }
    return found && total == page_size;
}

/* unusual(data, offsets, lengths, found, page size, layout): say of each delta whether its form is unusual. */
static PyObject *unusual(PyObject *self, PyObject *arguments)
{
    enum { DATA, OFFSETS, PAYLOADS, FOUND, ALL };
    static const Wanted wanted[ALL] = {
        [DATA] = {1, 1, 0}, [OFFSETS] = {8, 1, 0}, [PAYLOADS] = {8, 1, 0}, [FOUND] = {1, 1, 1}};
    PyObject *given[ALL];
    Py_buffer all[ALL];
    long long page_size;
    int run_at, byte_at;
    if (!PyArg_ParseTuple(arguments, "OOOOL(ii)", &given[DATA], &given[OFFSETS], &given[PAYLOADS], &given[FOUND],
                          &page_size, &run_at, &byte_at)
        || take(given, wanted, ALL, all) < 0)
        return NULL;
    const int64_t count = items(&all[FOUND]), size = all[DATA].len, *offset = all[OFFSETS].buf;
    const int64_t *length = all[PAYLOADS].buf;
    uint8_t *found = all[FOUND].buf;
    int is_right = items(&all[OFFSETS]) == count && items(&all[PAYLOADS]) == count && is_pair(run_at, byte_at);
    Py_BEGIN_ALLOW_THREADS
    for (int64_t k = 0; is_right && k < count; k++) {
        const int64_t at = offset[k], bytes = length[k];
        is_right = is_between(0, bytes, size) && is_between(0, at, size - bytes);
        if (is_right)
            found[k] = (uint8_t)is_unusual((Payload){(const uint8_t *)all[DATA].buf + at, bytes}, page_size, run_at,
                                           byte_at);
    }
    Py_END_ALLOW_THREADS
    release(all, ALL);
    if (!is_right) {
        PyErr_SetString(PyExc_ValueError, "deltas and their places do not fit each other");
        return NULL;
    }
    Py_RETURN_NONE;
}

/* -- deltas of pages ---------------------------------------------------------------------------------------------- */

/* The encoders look at 64 bytes at a time. Where they are as before, that costs one branch. Else a bit for each byte of
   them says what changed, and only bits that are set are looked at. */

enum { STRETCH = 64 };
enum { NO_DELTA = -1 };         /* the length of a page whose encoding does not fit */
enum { ULEB_MOST = 2 };         /* bytes of a number */
enum { ROUND = 16 };            /* so many bytes of a short run are copied, whatever its length */

/* The most that a page of `size` bytes needs in `out`: 2 bytes for each byte, or 4 and a byte for each second one; runs
   of less than ROUND bytes are copied as so many. */
static int64_t worst(int64_t size)
{
    return 3 * size + STRETCH;
}

/* Whether any byte of a stretch differs. */
static int is_changed(const uint8_t *old, const uint8_t *new)
{
    uint64_t any = 0;
    for (int i = 0; i < STRETCH; i += WORD) {
        uint64_t a, b;
        memcpy(&a, old + i, WORD);
        memcpy(&b, new + i, WORD);
        any |= a ^ b;
    }
    return any != 0;
}

/* The XOR of 8 bytes, the first one low, whatever the machine; written out as `word_at` is. */
static uint64_t xor_at(const uint8_t *old, const uint8_t *new)
{
    const uint64_t a = (uint64_t)old[7] << 56 | (uint64_t)old[6] << 48 | (uint64_t)old[5] << 40 | (uint64_t)old[4] << 32
                       | (uint64_t)old[3] << 24 | (uint64_t)old[2] << 16 | (uint64_t)old[1] << 8 | old[0];
    const uint64_t b = (uint64_t)new[7] << 56 | (uint64_t)new[6] << 48 | (uint64_t)new[5] << 40 | (uint64_t)new[4] << 32
                       | (uint64_t)new[3] << 24 | (uint64_t)new[2] << 16 | (uint64_t)new[1] << 8 | new[0];
    return a ^ b;
}

/* A bit for each byte of `word` that is not 0, bit 0 for the low byte. */
static uint64_t bits_of(uint64_t word)
{
    const uint64_t low = 0x7f7f7f7f7f7f7f7fu;
    word = ((word & low) + low) | word; /* the high bit of each such byte; nothing is carried to the next one */
    return ((word & ~low) >> 7) * 0x0102040810204080u >> 56;
}

static int first_bit(uint64_t bits) /* that is set; one is */
{
#if defined __GNUC__
    return __builtin_ctzll(bits);
#else
    int at = 0;
    for (; !(bits & 1); bits >>= 1)
        at++;
    return at;
#endif
}

/* Write a run as pairs: at most one for each 255 bytes, and one more. Gives where they end. */
static uint8_t *write_pairs(uint8_t *to, int64_t run, uint8_t byte, int run_at, int byte_at)
{
    for (; run > UINT8_MAX; run -= UINT8_MAX, to += 2) {
        to[run_at] = UINT8_MAX;
        to[byte_at] = byte;
    }
    to[run_at] = (uint8_t)run;
    to[byte_at] = byte;
    return to + 2;
}

/* XBRLE: a pair at each change of the XOR. Gives the length, or NO_DELTA. */
static int64_t write_page_as_pairs(const uint8_t *old, const uint8_t *new, int64_t size, uint8_t *out, int64_t limit,
                                   int run_at, int byte_at)
{
    uint8_t *to = out, value = old[0] ^ new[0]; /* of the run that goes on, */
    int64_t start = 0;          /* and where it began */
    uint64_t before = value;    /* the byte before the stretch; none is before the first, which starts no other run */
    for (int64_t at = 0; at < size; at += STRETCH) {
        if (!before && !is_changed(old + at, new + at))
            continue;
        uint64_t bits = 0;
        for (int i = 0; i < STRETCH; i += WORD) {
            const uint64_t word = xor_at(old + at + i, new + at + i);
            bits |= bits_of(word ^ (word << 8 | before)) << i;
            before = word >> 56;
        }
        for (; bits; bits &= bits - 1) {
            const int64_t place = at + first_bit(bits);
            to = write_pairs(to, place - start, value, run_at, byte_at);
            value = old[place] ^ new[place];
            start = place;
        }
        if (to - out > limit)
            return NO_DELTA;
    }
    to = write_pairs(to, size - start, value, run_at, byte_at);
    return to - out <= limit ? to - out : NO_DELTA;
}

typedef struct {
    uint8_t *to;                /* where the next run is written; NULL: one could not be */
    int64_t end;                /* where the last one ends in the page */
    int more, bits;
} Runs;

static uint8_t *write_number(uint8_t *to, int64_t number, int more, int bits)
{
    if (number < more) {
        to[0] = (uint8_t)number;
        return to + 1;
    }
    to[0] = (uint8_t)((number & (more - 1)) | more);
    to[1] = (uint8_t)(number >> bits);
    return to + 2;
}

/* Write the run of new bytes from `start` to `stop` of the page: two numbers, and the bytes. */
static void write_run(Runs *runs, const uint8_t *new, int64_t size, int64_t start, int64_t stop)
{
    const int64_t unchanged = start - runs->end, count = stop - start, most = (int64_t)runs->more << runs->bits;
    if (!runs->to || unchanged >= most || count >= most) {
        runs->to = NULL;
        return;
    }
    uint8_t *to = write_number(runs->to, unchanged, runs->more, runs->bits);
    to = write_number(to, count, runs->more, runs->bits);
    if (count <= ROUND && start + ROUND <= size)
        memcpy(to, new + start, ROUND);
    else
        memcpy(to, new + start, (size_t)count);
    runs->to = to + count;
    runs->end = stop;
}

/* XBZRLE: each run of new bytes. Gives the length, 0 for an unchanged page, or NO_DELTA. QEMU's encoder asks for two free
   bytes whenever it goes on, also before an unchanged end of the page. */
static int64_t write_page_as_runs(const uint8_t *old, const uint8_t *new, int64_t size, uint8_t *out, int64_t limit,
                                  int more, int bits)
{
    Runs runs = {out, 0, more, bits};
    int64_t start = -1;         /* of a run that goes on from stretch to stretch; -1: none does */
    for (int64_t at = 0; at < size; at += STRETCH) {
        uint64_t changed = 0;
        if (is_changed(old + at, new + at))
            for (int i = 0; i < STRETCH; i += WORD)
                changed |= bits_of(xor_at(old + at + i, new + at + i)) << i;
        else if (start < 0)
            continue;
        while (changed || start >= 0) {
            if (start < 0) {
                const int first = first_bit(changed);
                start = at + first;
                changed |= ((uint64_t)1 << first) - 1; /* now 0 is where the run ends */
            }
            if (changed == UINT64_MAX)
                break;          /* it goes on */
            const int end = first_bit(~changed);
            write_run(&runs, new, size, start, at + end);
            start = -1;
            changed &= UINT64_MAX << end;
        }
        if (!runs.to || runs.to - out > limit)
            return NO_DELTA;
    }
    if (start >= 0)
        write_run(&runs, new, size, start, size);
    if (!runs.to)
        return NO_DELTA;
    const int64_t length = runs.to - out;
    return length + (runs.end < size ? ULEB_MOST : 0) <= limit ? length : NO_DELTA;
}

typedef int64_t Write(const uint8_t *, const uint8_t *, int64_t, uint8_t *, int64_t, int, int);

/* encode(old, new, lengths, out, limit, layout): the deltas of pages, one after the other, until the worst one would not
   fit in `out`. Gives how many pages were encoded, at least one if there is any, and the bytes written. */
static PyObject *encode(PyObject *arguments, Write *write, int is_layout(int, int))
{
    enum { OLD, NEW, DELTAS, OUT, ALL };
    static const Wanted wanted[ALL] = {[OLD] = {1, 2, 0}, [NEW] = {1, 2, 0}, [DELTAS] = {8, 1, 1}, [OUT] = {1, 1, 1}};
    PyObject *given[ALL];
    Py_buffer all[ALL];
    long long limit;
    int one, other; /* what the coding needs to know of its layout */
    if (!PyArg_ParseTuple(arguments, "OOOOL(ii)", &given[OLD], &given[NEW], &given[DELTAS], &given[OUT], &limit, &one,
                          &other)
        || take(given, wanted, ALL, all) < 0)
        return NULL;
    const int64_t count = items(&all[OLD]), size = all[OLD].shape[1], room = all[OUT].len;
    const uint8_t *old = all[OLD].buf, *new = all[NEW].buf;
    uint8_t *out = all[OUT].buf;
    int64_t *length = all[DELTAS].buf, page = 0, used = 0;
    const int is_right = is_between(STRETCH, size, INT64_MAX / 8) && size % STRETCH == 0 && items(&all[NEW]) == count
                         && all[NEW].shape[1] == size && items(&all[DELTAS]) == count && is_layout(one, other)
                         && (!count || room >= worst(size));
    if (is_right) {
        Py_BEGIN_ALLOW_THREADS
        for (; page < count && room - used >= worst(size); page++) {
            const int64_t bytes = write(old + page * size, new + page * size, size, out + used, limit, one, other);
            length[page] = bytes;
            used += bytes > 0 ? bytes : 0;
        }
        Py_END_ALLOW_THREADS
    }
    release(all, ALL);
    if (!is_right) {
        PyErr_SetString(PyExc_ValueError, "pages, their lengths and the room for deltas do not fit each other");
        return NULL;
    }
    return Py_BuildValue("LL", (long long)page, (long long)used);
}

static PyObject *write_pages_as_pairs(PyObject *self, PyObject *arguments)
{
    return encode(arguments, write_page_as_pairs, is_pair);
}

static PyObject *write_pages_as_runs(PyObject *self, PyObject *arguments)
{
    return encode(arguments, write_page_as_runs, is_number);
}

/* -- what is said of a page ---------------------------------------------------------------------------------------- */

/* The byte that the page repeats, int16, or NOT_UNIFORM. */
static void fill_of(const uint8_t *page, int64_t page_size, void *found)
{
    *(int16_t *)found = memcmp(page, page + 1, (size_t)page_size - 1) ? NOT_UNIFORM : page[0];
}

#if defined __SSE2__
/* The sum of its bytes modulo 2^32. One instruction adds up eight bytes beside zeros, twice at once. */
static uint32_t byte_sum(const uint8_t *page, int64_t page_size)
{
    enum { LANES = 4, LANE = (int)sizeof(__m128i) };
    const __m128i zeros = _mm_setzero_si128();
    __m128i lane[LANES] = {zeros, zeros, zeros, zeros};
    int64_t at = 0;
    for (; at + LANES * LANE <= page_size; at += LANES * LANE)
        for (int k = 0; k < LANES; k++) {
            const __m128i bytes = _mm_loadu_si128((const __m128i *)(const void *)(page + at + k * LANE));
            lane[k] = _mm_add_epi64(lane[k], _mm_sad_epu8(bytes, zeros));
        }
    uint64_t halves[2], sum;
    lane[0] = _mm_add_epi64(_mm_add_epi64(lane[0], lane[1]), _mm_add_epi64(lane[2], lane[3]));
    _mm_storeu_si128((__m128i *)(void *)halves, lane[0]);
    sum = halves[0] + halves[1];
    for (; at < page_size; at++)
        sum += page[at];
    return (uint32_t)sum;
}
#else
/* The sum of its bytes modulo 2^32. In each turn a word of 64 bits has four sums of 16 bits: they take 128 pairs. */
static uint32_t byte_sum(const uint8_t *page, int64_t page_size)
{
    enum { LANES = 4, TURN = 1024 };
    const uint64_t even = 0x00ff00ff00ff00ffu, low = 0x0000ffff0000ffffu;
    uint64_t sum = 0;
    int64_t at = 0;
    for (; at + TURN <= page_size; at += TURN) {
        uint64_t lane[LANES] = {0};
        for (int i = 0; i < TURN; i += LANES * WORD)
            for (int k = 0; k < LANES; k++) {
                uint64_t word;
                memcpy(&word, page + at + i + k * WORD, WORD);
                lane[k] += (word & even) + (word >> 8 & even);
            }
        for (int k = 0; k < LANES; k++) {
            const uint64_t pairs = (lane[k] & low) + (lane[k] >> 16 & low);
            sum += (pairs & UINT32_MAX) + (pairs >> 32);
        }
    }
    for (; at < page_size; at++)
        sum += page[at];
    return (uint32_t)sum;
}
#endif

/* The same, uint32. */
static void sum_of(const uint8_t *page, int64_t page_size, void *found)
{
    *(uint32_t *)found = byte_sum(page, page_size);
}

typedef void Say(const uint8_t *, int64_t, void *);

/* look(pages, rows, found): say of page rows[k] what there is to say, in found[k], `width` bytes. */
static PyObject *look(PyObject *arguments, Say *say, uint8_t width)
{
    enum { PAGES, ROWS, FOUND, ALL };
    const Wanted wanted[ALL] = {[PAGES] = {1, 2, 0}, [ROWS] = {8, 1, 0}, [FOUND] = {width, 1, 1}};
    PyObject *given[ALL];
    Py_buffer all[ALL];
    if (!PyArg_ParseTuple(arguments, "OOO", &given[PAGES], &given[ROWS], &given[FOUND])
        || take(given, wanted, ALL, all) < 0)
        return NULL;
    const int64_t count = items(&all[FOUND]), last = items(&all[PAGES]), page_size = all[PAGES].shape[1];
    const int64_t *row = all[ROWS].buf;
    int is_right = page_size > 0 && items(&all[ROWS]) == count;
    if (is_right) {
        Py_BEGIN_ALLOW_THREADS
        for (int64_t k = 0; k < count; k++) {
            const int64_t from = row[k];
            is_right = is_between(0, from, last - 1);
            if (!is_right)
                break;
            say((const uint8_t *)all[PAGES].buf + from * page_size, page_size, (uint8_t *)all[FOUND].buf + k * width);
        }
        Py_END_ALLOW_THREADS
    }
    release(all, ALL);
    if (!is_right) {
        PyErr_SetString(PyExc_ValueError, "rows and pages do not fit each other");
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *fills(PyObject *self, PyObject *arguments)
{
    return look(arguments, fill_of, sizeof(int16_t));
}

static PyObject *sums(PyObject *self, PyObject *arguments)
{
    return look(arguments, sum_of, sizeof(uint32_t));
}

/* -- pages, each with all of its records ---------------------------------------------------------------------------- */

/* Pages are independent of each other. So all records of one page are taken at once, and it stays in the first-level
   cache meanwhile. `starts` says where the records of each page begin in `order`, which has their rows. */

typedef enum {
    LEFT,                       /* by a record's kind: what these loops leave to others, */
    WHOLE,                      /* a page as it stands in the stream, */
    FILL,                       /* the byte that a page repeats, */
    CHANGE,                     /* a delta, */
    LEFT_WHOLE,                 /* a whole page in a form that is left to others */
} Doing;

static const Wanted rows_wanted[COLUMNS] = {
    [OFFSET] = {8, 1, 0}, [ADDRESS] = {8, 1, 0}, [LENGTH] = {4, 1, 0}, [CHECKSUM] = {4, 1, 0},     [FLAGS] = {2, 1, 0},
    [BLOCK] = {2, 1, 0},  [HEAD] = {2, 1, 0},    [KIND] = {1, 1, 0},   [HEADER_FLAGS] = {1, 1, 0},
};

enum { KIND_VALUES = 256 };
enum { SOON = 4, LATER = 12 };  /* records ahead whose payload is fetched, and whose columns are */
enum { FETCHED = 512, LINE = 64 }; /* of a payload so many bytes, in pieces */

typedef struct {
    const uint8_t *data;
    int64_t size;
    const uint64_t *offset;
    const uint32_t *length, *checksum;
    const uint16_t *head;
    const uint8_t *kind, *header_flags, *doing;
    const uint32_t *starts, *order;
    int64_t rows, pages, ordered;
    int64_t page_size;
    Put *put;
    int one, other;             /* what the coding needs to know of its layout */
} Chains;

/* order_pages(pages, first, ends, order): put rows from `first` on, (n,), into the order by page. `ends` says where the
   next row of each page goes. Rows of page -1 are left out. */
static PyObject *order_pages(PyObject *self, PyObject *arguments)
{
    enum { OF, ENDS, ORDER, ALL };
    static const Wanted wanted[ALL] = {[OF] = {8, 1, 0}, [ENDS] = {4, 1, 1}, [ORDER] = {4, 1, 1}};
    PyObject *given[ALL];
    Py_buffer all[ALL];
    long long first;
    if (!PyArg_ParseTuple(arguments, "OLOO", &given[OF], &first, &given[ENDS], &given[ORDER])
        || take(given, wanted, ALL, all) < 0)
        return NULL;
    const int64_t count = items(&all[OF]), pages = items(&all[ENDS]), room = items(&all[ORDER]), *page = all[OF].buf;
    uint32_t *end = all[ENDS].buf, *order = all[ORDER].buf;
    int is_right = is_between(0, first, UINT32_MAX - count);
    Py_BEGIN_ALLOW_THREADS
    for (int64_t k = 0; is_right && k < count; k++) {
        if (page[k] < 0)
            continue;
        is_right = page[k] < pages && end[page[k]] < room;
        if (is_right)
            order[end[page[k]]++] = (uint32_t)(first + k);
    }
    Py_END_ALLOW_THREADS
    release(all, ALL);
    if (!is_right) {
        PyErr_SetString(PyExc_ValueError, "pages and their order do not fit each other");
        return NULL;
    }
    Py_RETURN_NONE;
}

/* count_pages(pages, counts): add to `counts` how often each page occurs; -1 is left out. */
static PyObject *count_pages(PyObject *self, PyObject *arguments)
{
    enum { OF, COUNTS, ALL };
    static const Wanted wanted[ALL] = {[OF] = {8, 1, 0}, [COUNTS] = {4, 1, 1}};
    PyObject *given[ALL];
    Py_buffer all[ALL];
    if (!PyArg_ParseTuple(arguments, "OO", &given[OF], &given[COUNTS]) || take(given, wanted, ALL, all) < 0)
        return NULL;
    const int64_t count = items(&all[OF]), pages = items(&all[COUNTS]), *page = all[OF].buf;
    uint32_t *counts = all[COUNTS].buf;
    int is_right = 1;
    Py_BEGIN_ALLOW_THREADS
    for (int64_t k = 0; is_right && k < count; k++) {
        is_right = page[k] < pages;
        if (is_right && page[k] >= 0)
            counts[page[k]]++;
    }
    Py_END_ALLOW_THREADS
    release(all, ALL);
    if (!is_right) {
        PyErr_SetString(PyExc_ValueError, "a page lies outside of those that are counted");
        return NULL;
    }
    Py_RETURN_NONE;
}

#if defined __GNUC__
static void fetch(const Chains *c, int64_t i, int64_t end)
{
    if (i + LATER < end && c->order[i + LATER] < c->rows) {
        const uint32_t k = c->order[i + LATER];
        __builtin_prefetch(c->offset + k);
        __builtin_prefetch(c->length + k);
        __builtin_prefetch(c->head + k);
        __builtin_prefetch(c->kind + k);
        __builtin_prefetch(c->checksum + k);
    }
    if (i + SOON < end && c->order[i + SOON] < c->rows) {
        const uint32_t k = c->order[i + SOON];
        const uint64_t at = c->offset[k];
        const uint32_t bytes = (c->length[k] < FETCHED ? c->length[k] : FETCHED) + c->head[k];
        for (uint32_t j = 0; at < (uint64_t)c->size && j < bytes; j += LINE)
            __builtin_prefetch(c->data + at + j);
    }
}
#else
static void fetch(const Chains *c, int64_t i, int64_t end)
{
}
#endif

/* What there is to do with the record at place `i` of the order, and its payload. LEFT where it does not lie in the
   data, or has another length than its kind should. */
static Doing doing_of(const Chains *c, int64_t i, Payload *payload)
{
    const uint32_t k = c->order[i];
    if (k >= c->rows)
        return LEFT;
    const uint64_t at = c->offset[k] + c->head[k];
    const uint32_t length = c->length[k];
    const Doing doing = c->doing[c->kind[k]];
    if (at > (uint64_t)c->size || length > (uint64_t)c->size - at || (doing == WHOLE && length != c->page_size)
        || (doing == FILL && length < 1))
        return LEFT;
    *payload = (Payload){c->data + at, length};
    return doing;
}

/* Whether the record at place `i` of the order gives its page whole, so that nothing before it counts. */
static int is_whole(const Chains *c, int64_t i)
{
    const uint32_t k = c->order[i];
    if (k >= c->rows)
        return 0;
    const Doing doing = c->doing[c->kind[k]];
    return doing == FILL || doing == LEFT_WHOLE || (doing == WHOLE && c->length[k] == c->page_size);
}

/* Whether the places of some pages in the order can be used. */
static int is_ordered(const Chains *c, int64_t first, int64_t end)
{
    if (!is_between(0, first, end) || end >= c->pages)
        return 0;
    for (int64_t page = first; page < end; page++)
        if (c->starts[page] > c->starts[page + 1])
            return 0;
    return c->starts[end] <= c->ordered;
}

/* -- what deltas and sums show ----------------------------------------------------------------------------------------- */

enum { HOLDS = 1, UNIFORM = 2, SENDER_HOLDS = 4, SENDER_UNIFORM = 8 }; /* observed.py */
enum { WRONG_ITEMS = 2, SUSPECT_ITEMS = 4 }; /* row, sum; row, page, and the rows of its dup page and of what was before */

typedef struct {
    int64_t flag;               /* of a delta's header that says that it states a sum; 0: each does, -1: none does */
    uint32_t inverted;          /* bits of the checksum that are inverted */
    int forgets;                /* whether the sender does not cache dup pages */
} Sums;

typedef struct {
    uint8_t *said;              /* by row */
    int64_t *wrong, *suspects;  /* items of each, one after the other, */
    int64_t wrongs, suspected;  /* how many there are, */
    int64_t wrongs_most, suspects_most;
} Seen;

static int is_uniform(const uint8_t *page, int64_t page_size)
{
    return !memcmp(page, page + 1, (size_t)page_size - 1);
}

/* Take all records of a page, over two pages of room: the receiver's, and the sender's where that is another one. Gives
   0 where one of them is left to others; nothing is then said of any of them. */
static int check_page(const Chains *c, int64_t page, const Sums *sums, uint8_t *mine, Seen *seen)
{
    const int64_t size = c->page_size, first = c->starts[page], end = c->starts[page + 1];
    const int64_t wrongs = seen->wrongs, suspected = seen->suspected;
    uint8_t *its = mine + size;
    int known = 0, after_dup = 0;
    int apart = 0, its_known = 0; /* whether the sender's page is another one, and whether it is known then */
    int64_t dup = -1, sent = -1; /* the last dup page, and the last record that was not one */
    if (end - first > seen->wrongs_most - wrongs || end - first > seen->suspects_most - suspected)
        return 0;
    for (int64_t i = first; i < end; i++) {
        Payload payload = {NULL, 0};
        fetch(c, i, c->starts[c->pages - 1]);
        const Doing doing = doing_of(c, i, &payload);
        const uint32_t k = c->order[i];
        const int is_seen = i + 1 < end && (!is_whole(c, i + 1) || c->doing[c->kind[c->order[i + 1]]] == FILL);
        uint8_t said = 0;
        if (doing == WHOLE) {
            if (is_seen)
                memcpy(mine, payload.data, (size_t)size);
            known = 1;
            apart = after_dup = 0;
            sent = k;
        } else if (doing == FILL) {
            if (sums->forgets && !apart) {
                apart = 1;
                its_known = known;
                if (known)
                    memcpy(its, mine, (size_t)size);
            }
            if (is_seen)
                memset(mine, payload.data[0], (size_t)size);
            known = after_dup = 1;
            dup = k;
        } else if (doing == CHANGE && known && c->put(payload, mine, size, c->one, c->other) == VERDICT_OK) {
            const int is_stated = !sums->flag || (sums->flag > 0 && c->header_flags[k] & sums->flag);
            if (apart && its_known)
                c->put(payload, its, size, c->one, c->other);
            if (is_stated) {
                const uint32_t stated = c->checksum[k] ^ sums->inverted, sum = byte_sum(mine, size);
                if (sum == stated) {
                    said |= HOLDS;
                } else {
                    int64_t *to = seen->wrong + WRONG_ITEMS * seen->wrongs++;
                    to[0] = k;
                    to[1] = sum;
                }
                if (sums->forgets && after_dup && its_known && byte_sum(its, size) == stated)
                    said |= SENDER_HOLDS;
            } else if (sums->forgets) {
                if (is_uniform(mine, size))
                    said |= UNIFORM;
                if (after_dup && its_known && is_uniform(its, size))
                    said |= SENDER_UNIFORM;
            }
            if (sums->forgets && after_dup) {
                int64_t *to = seen->suspects + SUSPECT_ITEMS * seen->suspected++;
                to[0] = k;
                to[1] = page;
                to[2] = dup;
                to[3] = sent;
            }
            sent = k;
        } else {
            seen->wrongs = wrongs;
            seen->suspected = suspected;
            for (; i >= first; i--)
                if (c->order[i] < c->rows)
                    seen->said[c->order[i]] = 0;
            return 0;
        }
        seen->said[k] = said;
    }
    return 1;
}

/* -- memory ---------------------------------------------------------------------------------------------------------- */

enum { RECOVERED = 1 };         /* image.py */
enum { WINDOW = 1 << 21 };      /* bytes of memory that are asked for at once, */
enum { SHARE = 4 };             /* where all but one in so many of its pages will be written */

typedef struct {
    uint8_t *pages, *state, *touched;
    const int64_t *number;      /* of each page: where it is in memory; NULL: where it is among the pages */
    int64_t last;               /* how many pages memory has */
} Memory;

static int64_t number_of(const Memory *memory, int64_t page)
{
    return memory->number ? memory->number[page] : page;
}

/* Ask for the memory of a window's pages from `first` on at once, if most of them will be written. */
static void populate(const Chains *c, const Memory *memory, int64_t first, int64_t end)
{
#if defined __linux__
    int64_t written = 0;
    for (int64_t page = first; page < end; page++) {
        const uint32_t last = c->starts[page + 1];
        if (c->starts[page] < last && !memory->touched[page] && c->order[last - 1] < c->rows
            && c->doing[c->kind[c->order[last - 1]]] != FILL)
            written++;
    }
    const uintptr_t at = (uintptr_t)(memory->pages + first * c->page_size);
    if (written && (end - first - written) * SHARE <= end - first && at % SMALLEST == 0)
        madvise((void *)at, (size_t)((end - first) * c->page_size), POPULATE);
#endif
}

/* Bring a page up to its last record, or to the first that is left to others. Gives the place of that in the order. Where
   only the `end` counts, what comes before the last whole page is passed over. */
static int64_t fill_page(const Chains *c, int64_t page, const Memory *memory, int end_only)
{
    const int64_t size = c->page_size, first = c->starts[page], end = c->starts[page + 1];
    const int64_t number = number_of(memory, page);
    uint8_t *to = memory->pages + number * size;
    int64_t i = first;
    if (end_only)
        for (int64_t k = end; k-- > first;)
            if (is_whole(c, k)) {
                i = k;
                break;
            }
    for (; i < end; i++) {
        Payload payload = {NULL, 0};
        fetch(c, i, c->starts[c->pages - 1]);
        const Doing doing = doing_of(c, i, &payload);
        if (doing == WHOLE) {
            memmove(to, payload.data, (size_t)size);
        } else if (doing == FILL) {
            const uint8_t fill = payload.data[0];
            if (!fill && !memory->touched[number]) {
                memory->state[number] = RECOVERED; /* it is zero as it stands */
                continue;
            }
            memset(to, fill, (size_t)size);
        } else if (doing != CHANGE || memory->state[number] != RECOVERED
                   || c->put(payload, to, size, c->one, c->other) != VERDICT_OK) {
            return i;
        }
        memory->state[number] = RECOVERED;
        memory->touched[number] = 1;
    }
    return end;
}

/* -- both ------------------------------------------------------------------------------------------------------------ */

enum { PAIRS, RUNS };           /* codings of deltas */

/* Take what all loops over pages have in common; 0, or -1 with an exception set and nothing taken. */
enum { C_DATA, C_DOING, C_STARTS, C_ORDER, C_COLUMNS, C_ALL = C_COLUMNS + COLUMNS };

static int take_chains(PyObject *given, PyObject *columns, Py_buffer *all, Chains *c, int64_t page_size, int coding,
                       int one, int other)
{
    static const Wanted wanted[C_COLUMNS] = {
        [C_DATA] = {1, 1, 0}, [C_DOING] = {1, 1, 0}, [C_STARTS] = {4, 1, 0}, [C_ORDER] = {4, 1, 0}};
    if (take_tuple(given, wanted, C_COLUMNS, all) < 0)
        return -1;
    if (take_tuple(columns, rows_wanted, COLUMNS, all + C_COLUMNS) < 0) {
        release(all, C_COLUMNS);
        return -1;
    }
    const Py_buffer *column = all + C_COLUMNS;
    const int64_t rows = items(&column[OFFSET]);
    int is_right = items(&all[C_DOING]) == KIND_VALUES && items(&all[C_STARTS]) >= 1 && page_size >= WORD
                   && (coding == PAIRS ? is_pair(one, other) : coding == RUNS && is_number(one, other));
    for (int i = 0; i < COLUMNS; i++)
        is_right = is_right && items(&column[i]) == rows;
    if (!is_right) {
        release(all, C_ALL);
        PyErr_SetString(PyExc_ValueError, "records, their pages and their order do not fit each other");
        return -1;
    }
    *c = (Chains){all[C_DATA].buf, all[C_DATA].len, column[OFFSET].buf, column[LENGTH].buf, column[CHECKSUM].buf,
                  column[HEAD].buf, column[KIND].buf, column[HEADER_FLAGS].buf, all[C_DOING].buf, all[C_STARTS].buf,
                  all[C_ORDER].buf, rows, items(&all[C_STARTS]), items(&all[C_ORDER]), page_size,
                  coding == PAIRS ? put_pairs : put_runs, one, other};
    return 0;
}

/* check_pages((data, doing, starts, order), columns, (first, end, page size), (coding, one, other), (flag, inverted,
   forgets), said, left, wrong, suspects): what the records of pages [first, end) show. Gives how many sums are wrong and
   how many deltas are suspects. left[page] is 1 for a page of whose records nothing is said. */
static PyObject *check_pages(PyObject *self, PyObject *arguments)
{
    enum { SAID, PASSED, WRONG, SUSPECTS, ALL };
    static const Wanted wanted[ALL] = {
        [SAID] = {1, 1, 1}, [PASSED] = {1, 1, 1}, [WRONG] = {8, 2, 1}, [SUSPECTS] = {8, 2, 1}};
    PyObject *chains_given, *columns_given, *given[ALL];
    Py_buffer common[C_ALL], all[ALL];
    long long first, end, page_size, flag;
    unsigned int inverted;
    int coding, one, other, forgets;
    Chains c;
    if (!PyArg_ParseTuple(arguments, "O!O!(LLL)(iii)(LIi)OOOO", &PyTuple_Type, &chains_given, &PyTuple_Type,
                          &columns_given, &first, &end, &page_size, &coding, &one, &other, &flag, &inverted, &forgets,
                          &given[SAID], &given[PASSED], &given[WRONG], &given[SUSPECTS])
        || take_chains(chains_given, columns_given, common, &c, page_size, coding, one, other) < 0)
        return NULL;
    if (take(given, wanted, ALL, all) < 0) {
        release(common, C_ALL);
        return NULL;
    }
    const Sums sums = {flag, inverted, forgets};
    Seen seen = {all[SAID].buf, all[WRONG].buf, all[SUSPECTS].buf, 0, 0, items(&all[WRONG]), items(&all[SUSPECTS])};
    uint8_t *left = all[PASSED].buf;
    int is_right = is_ordered(&c, first, end) && items(&all[SAID]) == c.rows && items(&all[PASSED]) >= end
                   && all[WRONG].shape[1] == WRONG_ITEMS && all[SUSPECTS].shape[1] == SUSPECT_ITEMS
                   && page_size <= INT64_MAX / 4;
    uint8_t *room = is_right ? malloc(2 * (size_t)page_size) : NULL;
    if (room) {
        Py_BEGIN_ALLOW_THREADS
        for (int64_t page = first; page < end; page++)
            left[page] = c.starts[page] < c.starts[page + 1] && !check_page(&c, page, &sums, room, &seen);
        Py_END_ALLOW_THREADS
        free(room);
    }
    release(all, ALL);
    release(common, C_ALL);
    if (!is_right) {
        PyErr_SetString(PyExc_ValueError, "pages and what is said of them do not fit each other");
        return NULL;
    }
    if (!room)
        return PyErr_NoMemory();
    return Py_BuildValue("LL", (long long)seen.wrongs, (long long)seen.suspected);
}

/* fill_pages((data, doing, starts, order), columns, (first, end, page size), (coding, one, other), pages, state, touched,
   numbers, done, end_only): bring pages [first, end) of memory up to their last records. done[page] is where it ended in
   the order: before a record that is left to others. `numbers` says where each page is in memory; it is empty where all
   stand at their own places. */
static PyObject *fill_pages(PyObject *self, PyObject *arguments)
{
    enum { PAGES, STATE, TOUCHED, NUMBERS, DONE, ALL };
    static const Wanted wanted[ALL] = {
        [PAGES] = {1, 2, 1}, [STATE] = {1, 1, 1}, [TOUCHED] = {1, 1, 1}, [NUMBERS] = {8, 1, 0}, [DONE] = {4, 1, 1}};
    PyObject *chains_given, *columns_given, *given[ALL];
    Py_buffer common[C_ALL], all[ALL];
    long long first, end, page_size;
    int coding, one, other, end_only;
    Chains c;
    if (!PyArg_ParseTuple(arguments, "O!O!(LLL)(iii)OOOOOi", &PyTuple_Type, &chains_given, &PyTuple_Type,
                          &columns_given, &first, &end, &page_size, &coding, &one, &other, &given[PAGES],
                          &given[STATE], &given[TOUCHED], &given[NUMBERS], &given[DONE], &end_only)
        || take_chains(chains_given, columns_given, common, &c, page_size, coding, one, other) < 0)
        return NULL;
    if (take(given, wanted, ALL, all) < 0) {
        release(common, C_ALL);
        return NULL;
    }
    const int64_t last = items(&all[PAGES]);
    const Memory memory = {all[PAGES].buf, all[STATE].buf, all[TOUCHED].buf,
                           items(&all[NUMBERS]) ? all[NUMBERS].buf : NULL, last};
    uint32_t *done = all[DONE].buf;
    int is_right = is_ordered(&c, first, end) && all[PAGES].shape[1] == page_size && items(&all[STATE]) == last
                   && items(&all[TOUCHED]) == last && items(&all[DONE]) >= end
                   && (memory.number ? items(&all[NUMBERS]) >= end : last >= end);
    for (int64_t page = first; is_right && memory.number && page < end; page++)
        is_right = is_between(0, memory.number[page], last - 1);
    if (is_right) {
        const int64_t window = WINDOW > page_size ? WINDOW / page_size : 1;
        Py_BEGIN_ALLOW_THREADS
        for (int64_t page = first; page < end; page++) {
            if (!memory.number && (page == first || page % window == 0)) {
                const int64_t stop = page - page % window + window;
                populate(&c, &memory, page, stop < end ? stop : end);
            }
            done[page] = (uint32_t)fill_page(&c, page, &memory, end_only);
        }
        Py_END_ALLOW_THREADS
    }
    release(all, ALL);
    release(common, C_ALL);
    if (!is_right) {
        PyErr_SetString(PyExc_ValueError, "pages and their records do not fit each other");
        return NULL;
    }
    Py_RETURN_NONE;
}

/* -- the module --------------------------------------------------------------------------------------------------- */

static PyMethodDef functions[] = {
    {"walk", walk, METH_VARARGS, NULL},
    {"xor_pairs", xor_pairs, METH_VARARGS, NULL},
    {"copy_pages", copy_pages, METH_VARARGS, NULL},
    {"copy_runs", copy_runs, METH_VARARGS, NULL},
    {"write_pairs", write_pages_as_pairs, METH_VARARGS, NULL},
    {"write_runs", write_pages_as_runs, METH_VARARGS, NULL},
    {"fills", fills, METH_VARARGS, NULL},
    {"sums", sums, METH_VARARGS, NULL},
    {"unusual", unusual, METH_VARARGS, NULL},
    {"count_pages", count_pages, METH_VARARGS, NULL},
    {"order_pages", order_pages, METH_VARARGS, NULL},
    {"check_pages", check_pages, METH_VARARGS, NULL},
    {"fill_pages", fill_pages, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static int set_up(PyObject *module)
{
    return PyModule_AddIntConstant(module, "REVISION", REVISION);
}

static PyModuleDef_Slot slots[] = {
    {Py_mod_exec, set_up},
#ifdef Py_mod_gil
    {Py_mod_gil, Py_MOD_GIL_NOT_USED},
#endif
    {0, NULL},
};

static struct PyModuleDef module = {PyModuleDef_HEAD_INIT, "_native", NULL, 0, functions, slots, NULL, NULL, NULL};

PyMODINIT_FUNC PyInit__native(void)
{
    return PyModuleDef_Init(&module);
}
