/*
 * The loops in which each step depends on the one before, which arrays cannot express: the walk from record to record,
 * and the runs of one delta; and what is done with pages that lie anywhere, which arrays have to put side by side first:
 * copying them, summing them, seeing whether they are of one byte. Optional: NumPy does what is done here as well, and is the
 * reference that tests hold this to. Layouts come from the caller, who has them from formats/. Nothing is read or
 * written outside of the buffers given, whatever their contents; the interpreter's lock is released meanwhile.
 */
#define PY_SSIZE_T_CLEAN
#include <Python.h>
#include <stdint.h>
#include <string.h>

enum { REVISION = 6 }; /* of the arguments and meaning of what follows: native.py takes no other */
enum { VERDICT_OK, VERDICT_SHORT, VERDICT_LONG, VERDICT_BAD_NUMBER, VERDICT_CUT, VERDICT_ZERO_RUN }; /* verdict.py */
enum { NOT_UNIFORM = -1 }; /* uniform.py */

/* -- the walk over records ---------------------------------------------------------------------------------------- */

typedef struct {
    uint64_t *offset, *address;
    uint32_t *length, *checksum;
    uint16_t *flags, *block, *head;
    uint8_t *kind, *header_flags;
} Columns;

typedef struct {                /* what a word's flags say, and how many of its low bits they are */
    const uint8_t *kinds;
    const uint16_t *heads;      /* bytes before the payload */
    const uint32_t *lengths;    /* of the payload, 0 where the record says it */
    uint64_t mask;
} Meaning;

typedef struct {
    const uint32_t *sizes;      /* of records, by the low byte of their flags; 0 where it varies */
    int sum_kind;               /* whose pages come after their sum, 4 bytes, most significant first; -1: none */
} Fixed;

typedef struct {
    int flags;                  /* of a delta; -1 where none is known. The following locate its header's fields */
    int length_at, length_bytes, is_big, flags_at, checksum_at; /* no checksum: -1 */
    long long least, most;      /* what the length field may hold: its payload has as many bytes as that is above `least` */
    long long beside;           /* bytes of a delta, less what its length field holds */
} Delta;

typedef struct {
    int flags, high;            /* of a page that came as a zlib stream; flags -1 where there can be none */
    int high_at, high_mask;     /* where, and which, the flags above the low byte are */
    int length_at;              /* of its length, 4 bytes, most significant first */
    int magic_at, magic_mask, magic;
    long long most;             /* what the length may be; it is at least 1 */
    long long beside;           /* bytes of such a record beside the zlib stream */
} Packed;

enum { WORD = 8, WIDE = 4 };    /* bytes of a record's word, and of a number behind it: others are refused */

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

/* Store the records from `at` on, in rows from `row` on; *next is where one begins whose size is not known, or bad. */
static int64_t records(const uint8_t *data, int64_t size, int64_t base, int64_t at, int64_t limit, int64_t row,
                       int64_t rows, int block, Columns to, Meaning meaning, Fixed fixed, Delta delta, Packed packed, int64_t *next)
{
    const int64_t first = row;
    while (row < rows && at < limit && at <= size - WORD) {
        const uint8_t *record = data + at;
        const int64_t left = size - at;
        const uint64_t word = word_at(record), flags = word & meaning.mask;
        const uint8_t low = (uint8_t)word, kind = meaning.kinds[flags];
        const int64_t head = meaning.heads[flags];
        int64_t step = fixed.sizes[low], length = meaning.lengths[flags];
        uint64_t checksum = 0;
        uint8_t header_flags = 0;
        if (head > left)
            break;
        if (step) {
            if (kind == fixed.sum_kind && head >= WIDE)
                checksum = number_at(record + head - WIDE, WIDE, 1);
        } else if (low == delta.flags && delta.length_at + delta.length_bytes <= left && delta.flags_at < left
                   && delta.checksum_at + WIDE <= left) {
            const int64_t field = (int64_t)number_at(record + delta.length_at, delta.length_bytes, delta.is_big);
            if (field < delta.least || field > delta.most)
                break;
            step = delta.beside + field;
            length = field - delta.least;
            header_flags = record[delta.flags_at];
            if (delta.checksum_at >= 0)
                checksum = number_at(record + delta.checksum_at, WIDE, delta.is_big);
        } else if (low == packed.flags && packed.magic_at < left && packed.length_at + WIDE <= left
                   && (record[packed.high_at] & packed.high_mask) == packed.high
                   && (record[packed.magic_at] & packed.magic_mask) == packed.magic) {
            length = (int64_t)number_at(record + packed.length_at, WIDE, 1);
            if (length < 1 || length > packed.most)
                break;
            step = packed.beside + length;
        } else {
            break;
        }
        to.offset[row] = (uint64_t)(base + at);
        to.address[row] = word & ~meaning.mask;
        to.length[row] = (uint32_t)length;
        to.checksum[row] = (uint32_t)checksum;
        to.flags[row] = (uint16_t)flags;
        to.block[row] = (uint16_t)block;
        to.head[row] = (uint16_t)head;
        to.kind[row] = kind;
        to.header_flags[row] = header_flags;
        row++;
        at += step;
    }
    *next = at;
    return row - first;
}

enum { FAR = 1 << 16 }; /* from a record's beginning: no header is that long */

static int is_near(long long place)
{
    return place >= 0 && place <= FAR;
}

static int is_sound(const Delta *delta, const Packed *packed)
{
    return is_near(delta->length_at) && delta->length_bytes >= 1 && delta->length_bytes <= 4 && is_near(delta->flags_at)
           && is_near(delta->checksum_at + 1) && delta->least >= 0 && delta->beside >= -FAR && delta->beside <= FAR
           && delta->beside + delta->least >= 1 && is_near(packed->high_at) && is_near(packed->length_at)
           && is_near(packed->magic_at) && packed->high_at <= packed->magic_at && packed->beside >= 0
           && packed->beside <= FAR;
}

static int holds(const Py_buffer *buffer, int64_t count, Py_ssize_t width)
{
    return buffer->len == count * width;
}

static PyObject *walk(PyObject *self, PyObject *arguments)
{
    enum { OFFSET, ADDRESS, LENGTH, CHECKSUM, FLAGS, BLOCK, HEAD, KIND, HEADER_FLAGS, /* the columns */
           KINDS, HEADS, LENGTHS, SIZES, DATA, ALL };
    Py_buffer all[ALL];
    long long base, at, limit;
    Py_ssize_t row;
    int block, word, wide;
    int64_t count = 0, next = 0;
    Fixed fixed;
    Delta delta;
    Packed packed;
    /* no buffer may stand in an inner tuple: CPython has no room to remember more than eight of those */
    if (!PyArg_ParseTuple(arguments, "y*LLLniw*w*w*w*w*w*w*w*w*y*y*y*(ii)y*i(iiipiiLLL)(iiiiiiiiLL)", &all[DATA], &base, &at,
                          &limit, &row, &block, &all[OFFSET], &all[ADDRESS], &all[LENGTH], &all[CHECKSUM], &all[FLAGS],
                          &all[BLOCK], &all[HEAD], &all[KIND], &all[HEADER_FLAGS], &all[KINDS], &all[HEADS],
                          &all[LENGTHS], &word, &wide, &all[SIZES], &fixed.sum_kind, &delta.flags, &delta.length_at,
                          &delta.length_bytes, &delta.is_big, &delta.flags_at, &delta.checksum_at, &delta.least, &delta.most,
                          &delta.beside, &packed.flags, &packed.high, &packed.high_at, &packed.high_mask, &packed.length_at,
                          &packed.magic_at, &packed.magic_mask, &packed.magic, &packed.most, &packed.beside))
        return NULL;
    PyObject *result = NULL;
    const int64_t rows = all[KIND].len, flags = all[KINDS].len;
    if (at < 0 || base < 0 || row < 0 || row > rows || word != WORD || wide != WIDE || !is_sound(&delta, &packed)
        || flags < 1 || (flags & (flags - 1))
        || !holds(&all[OFFSET], rows, 8) || !holds(&all[ADDRESS], rows, 8) || !holds(&all[LENGTH], rows, 4)
        || !holds(&all[CHECKSUM], rows, 4) || !holds(&all[FLAGS], rows, 2) || !holds(&all[BLOCK], rows, 2)
        || !holds(&all[HEAD], rows, 2) || !holds(&all[HEADER_FLAGS], rows, 1) || !holds(&all[HEADS], flags, 2)
        || !holds(&all[LENGTHS], flags, 4) || !holds(&all[SIZES], 256, 4)) {
        PyErr_SetString(PyExc_ValueError, "no layout of records");
    } else {
        const Columns to = {all[OFFSET].buf, all[ADDRESS].buf, all[LENGTH].buf, all[CHECKSUM].buf,    all[FLAGS].buf,
                            all[BLOCK].buf,  all[HEAD].buf,    all[KIND].buf,   all[HEADER_FLAGS].buf};
        const Meaning meaning = {all[KINDS].buf, all[HEADS].buf, all[LENGTHS].buf, (uint64_t)flags - 1};
        fixed.sizes = all[SIZES].buf;
        Py_BEGIN_ALLOW_THREADS
        count = records(all[DATA].buf, all[DATA].len, base, at, limit, row, rows, block, to, meaning, fixed, delta, packed,
                        &next);
        Py_END_ALLOW_THREADS
        result = Py_BuildValue("LL", (long long)count, (long long)next);
    }
    for (int i = 0; i < ALL; i++)
        PyBuffer_Release(&all[i]);
    return result;
}

/* -- deltas ------------------------------------------------------------------------------------------------------- */

typedef struct {
    const uint8_t *data;
    int64_t length;
} Payload;

/* (run, byte) pairs: all or nothing, so their runs are added up first. */
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
        if (run > page_size - to) /* what was added up has changed since: a file that is written while it is read */
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

/* A number at `*at`, which moves behind it; -1 where a receiver sees none. */
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

/* Runs of unchanged and of new bytes, in the order in which a receiver looks; `page` NULL: only look. */
static int read_runs(Payload delta, uint8_t *page, int64_t page_size, int more, int bits)
{
    int64_t at = 0, to = 0;
    while (at < delta.length) {
        const int is_first = !at;
        const int64_t unchanged = number(delta, &at, more, bits);
        if (unchanged < 0)
            return VERDICT_BAD_NUMBER;
        if (!unchanged && !is_first)
            return VERDICT_ZERO_RUN;
        to += unchanged;
        if (to > page_size)
            return VERDICT_LONG;
        const int64_t count = number(delta, &at, more, bits);
        if (count < 0)
            return VERDICT_BAD_NUMBER;
        if (!count)
            return VERDICT_ZERO_RUN;
        if (to + count > page_size)
            return VERDICT_LONG;
        if (count > delta.length - at)
            return VERDICT_CUT;
        if (page)
            memmove(page + to, delta.data + at, (size_t)count);
        at += count;
        to += count;
    }
    return VERDICT_OK;
}

/* Looks first, so that a page whose delta is not OK stays as it was. */
static int put_runs(Payload delta, uint8_t *page, int64_t page_size, int more, int bits)
{
    const int verdict = read_runs(delta, NULL, page_size, more, bits);
    return verdict ? verdict : read_runs(delta, page, page_size, more, bits);
}

/* A page as it stands in the stream. */
static int put_page(Payload page, uint8_t *to, int64_t page_size, int one, int other)
{
    if (page.length != page_size)
        return page.length < page_size ? VERDICT_SHORT : VERDICT_LONG;
    memmove(to, page.data, (size_t)page_size);
    return VERDICT_OK;
}

typedef int Put(Payload, uint8_t *, int64_t, int, int);

/* Delta k into page rows[k]. What `check_deltas` and `check_rows` promise is looked at again: here it is memory. */
static PyObject *apply(PyObject *arguments, Put *put, int is_layout(int, int))
{
    Py_buffer data, offsets, lengths, pages, rows, verdicts;
    Py_ssize_t page_size;
    int one, other; /* what the coding needs to know of its layout */
    if (!PyArg_ParseTuple(arguments, "y*y*y*w*ny*w*(ii)", &data, &offsets, &lengths, &pages, &page_size, &rows, &verdicts,
                          &one, &other))
        return NULL;
    const Py_ssize_t count = verdicts.len, wide = (Py_ssize_t)sizeof(int64_t);
    const int64_t *at = offsets.buf, *length = lengths.buf, *row = rows.buf;
    uint8_t *verdict = verdicts.buf;
    int is_right = page_size > 0 && offsets.len % wide == 0 && offsets.len / wide == count && lengths.len == offsets.len
                   && rows.len == offsets.len && is_layout(one, other);
    if (is_right) {
        const int64_t last = pages.len / page_size;
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t k = 0; k < count; k++) {
            is_right = at[k] >= 0 && length[k] >= 0 && length[k] <= data.len && at[k] <= data.len - length[k] && row[k] >= 0
                       && row[k] < last;
            if (!is_right)
                break;
            const Payload delta = {(const uint8_t *)data.buf + at[k], length[k]};
            verdict[k] = (uint8_t)put(delta, (uint8_t *)pages.buf + row[k] * page_size, page_size, one, other);
        }
        Py_END_ALLOW_THREADS
    }
    Py_buffer *all[] = {&data, &offsets, &lengths, &pages, &rows, &verdicts};
    for (size_t i = 0; i < sizeof all / sizeof *all; i++)
        PyBuffer_Release(all[i]);
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

/* -- what is said of a page ---------------------------------------------------------------------------------------- */

/* The byte that all of the page is, int16, or that there is none. */
static void fill_of(const uint8_t *page, Py_ssize_t page_size, void *found)
{
    *(int16_t *)found = memcmp(page, page + 1, (size_t)page_size - 1) ? NOT_UNIFORM : page[0];
}

/* The sum of its bytes modulo 2^32, uint32. */
static void sum_of(const uint8_t *page, Py_ssize_t page_size, void *found)
{
    uint32_t sum = 0;
    for (Py_ssize_t i = 0; i < page_size; i++)
        sum += page[i];
    *(uint32_t *)found = sum;
}

typedef void Say(const uint8_t *, Py_ssize_t, void *);

/* Of page rows[k] what is said of it, `width` bytes. */
static PyObject *look(PyObject *arguments, Say *say, Py_ssize_t width)
{
    Py_buffer pages, rows, found;
    Py_ssize_t page_size;
    if (!PyArg_ParseTuple(arguments, "y*ny*w*", &pages, &page_size, &rows, &found))
        return NULL;
    const Py_ssize_t count = found.len / width;
    const int64_t *row = rows.buf;
    int is_right = page_size > 0 && holds(&found, count, width) && holds(&rows, count, sizeof *row);
    if (is_right) {
        const int64_t last = pages.len / page_size;
        Py_BEGIN_ALLOW_THREADS
        for (Py_ssize_t k = 0; k < count; k++) {
            is_right = row[k] >= 0 && row[k] < last;
            if (!is_right)
                break;
            say((const uint8_t *)pages.buf + row[k] * page_size, page_size, (uint8_t *)found.buf + k * width);
        }
        Py_END_ALLOW_THREADS
    }
    PyBuffer_Release(&pages);
    PyBuffer_Release(&rows);
    PyBuffer_Release(&found);
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

/* -- the module --------------------------------------------------------------------------------------------------- */

static PyMethodDef functions[] = {
    {"walk", walk, METH_VARARGS, NULL},
    {"xor_pairs", xor_pairs, METH_VARARGS, NULL},
    {"copy_pages", copy_pages, METH_VARARGS, NULL},
    {"copy_runs", copy_runs, METH_VARARGS, NULL},
    {"fills", fills, METH_VARARGS, NULL},
    {"sums", sums, METH_VARARGS, NULL},
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
