"""Arrow's C stream interface by ctypes: how tables reach DuckDB, polars and pyarrow without a copy, and who frees what.

Facts: Arrow's C data interface, its C stream interface, and its PyCapsule interface. A reader moves a structure by
copying it, and marks it as released by setting ``release`` to null. So what a structure owns is found by its
``private_data``, never by its address. Each array, each child and each dictionary is released by itself.

A reader releases wherever it drops an array, also while a Python error is on its way. The callbacks in C
(`_release.c`) leave that error as it is. Where no compiler built them, callbacks in Python do the work: then a
SystemError takes the error's place.

A capsule does not have a destructor, which could run at such a moment too. The capsules that nobody else holds any more
are dropped at the next export, and when the garbage is collected.
"""

import ctypes
import errno
import gc
import itertools
import sys
from collections.abc import Iterator, Sequence
from ctypes import CFUNCTYPE, POINTER, Structure, c_char_p, c_int, c_int64, c_void_p
from functools import partial
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from .values import TEXT, Batch, Batches, Column, Field, Schema, Type

_NULLABLE = 2  # of a schema's flags
_STRUCT = b"+s"
_SCHEMA_NAME, _STREAM_NAME = b"arrow_schema", b"arrow_array_stream"  # capsules keep their address
_MESSAGE_MAX = 1 << 12  # characters of what a reader is told of an error


class _Schema(Structure):
    pass


class _Array(Structure):
    pass


class _Stream(Structure):
    pass


_Release = CFUNCTYPE(None, c_void_p)
_GetSchema = CFUNCTYPE(c_int, c_void_p, c_void_p)
_GetNext = CFUNCTYPE(c_int, c_void_p, c_void_p)
_LastError = CFUNCTYPE(c_void_p, c_void_p)

_Schema._fields_ = [
    ("format", c_char_p),
    ("name", c_char_p),
    ("metadata", c_void_p),
    ("flags", c_int64),
    ("n_children", c_int64),
    ("children", POINTER(POINTER(_Schema))),
    ("dictionary", POINTER(_Schema)),
    ("release", _Release),
    ("private_data", c_void_p),
]
_Array._fields_ = [
    ("length", c_int64),
    ("null_count", c_int64),
    ("offset", c_int64),
    ("n_buffers", c_int64),
    ("n_children", c_int64),
    ("buffers", POINTER(c_void_p)),
    ("children", POINTER(POINTER(_Array))),
    ("dictionary", POINTER(_Array)),
    ("release", _Release),
    ("private_data", c_void_p),
]
_Stream._fields_ = [
    ("get_schema", _GetSchema),
    ("get_next", _GetNext),
    ("get_last_error", _LastError),
    ("release", _Release),
    ("private_data", c_void_p),
]


class _Owned:
    """What structures own, by their ``private_data``: it lives until they are released."""

    kept: ClassVar[dict[int, Any]] = {}
    keys: ClassVar[Iterator[int]] = itertools.count(1)

    @classmethod
    def add(cls, what: Any) -> int:
        """Keep something. Gives its key."""
        key = next(cls.keys)
        cls.kept[key] = what
        return key


_NO_RELEASE = _Release()

# A reader can release what it has while the interpreter ends, when globals are gone: what a callback needs is bound.
# An error may be on its way then. It is taken away first, since else the first call in the callback fails, and the
# structure would stay unreleased, for which readers end the process.

_python = ctypes.PyDLL(None)  # without argtypes: nothing is called to convert what is passed
_fetch, _restore = _python.PyErr_Fetch, _python.PyErr_Restore
_fetch.restype = _restore.restype = None
_error = (c_void_p * 3)()
_ERROR_AT = tuple(c_void_p(ctypes.addressof(_error) + i * ctypes.sizeof(c_void_p)) for i in range(3))


def _released(kind: type[Structure]) -> Any:
    """The callback that releases an array, a schema or a stream, with those parts that nobody has moved away."""

    def release(
        address: int,
        kind: Any = kind,
        kept: dict[int, Any] = _Owned.kept,
        none: Any = _NO_RELEASE,
        place: Any = ctypes.addressof,
        fetch: Any = _fetch,
        error_at: Any = _ERROR_AT,
        error: Any = _error,
        restore: Any = _restore,
        pointer: Any = c_void_p,
    ) -> None:
        fetch(error_at[0], error_at[1], error_at[2])
        pending = tuple(error)
        it = kind.from_address(address)
        parts = [it.children[i].contents for i in range(getattr(it, "n_children", 0))]
        if getattr(it, "dictionary", None):
            parts.append(it.dictionary.contents)
        for part in parts:
            if part.release:
                part.release(place(part))
        key, it.release = it.private_data, none
        kept.pop(key, None)
        if pending[0]:
            restore(*map(pointer, pending))

    return _Release(release)


def _drop(kept: dict[int, Any], key: int) -> None:
    kept.pop(key, None)


def _in_c() -> tuple[Any, Any, Any] | None:
    """The callbacks in C, of schemas, arrays and streams, or None where they are not built."""
    try:
        from . import _release
    except ImportError:
        return None
    _release.on_release(partial(_drop, _Owned.kept))
    schema, array, stream = (_Release(address) for address in _release.addresses)
    return schema, array, stream


def _in_python() -> tuple[Any, Any, Any]:
    return _released(_Schema), _released(_Array), _released(_Stream)


_release_schema, _release_array, _release_stream = _in_c() or _in_python()


# -- schemas and arrays ------------------------------------------------------------------------------------------------


def _pointers(parts: Sequence[Structure], kind: type[Any]) -> Any:
    return (POINTER(kind) * len(parts))(*(ctypes.pointer(p) for p in parts)) if parts else None


def _fill_schema(
    out: Any,
    format_: bytes,
    name: bytes,
    children: Sequence[_Schema] = (),
    dictionary: _Schema | None = None,
    metadata: bytes | None = None,
) -> None:
    pointers = _pointers(children, _Schema)
    out.format, out.name, out.flags, out.n_children = format_, name, _NULLABLE, len(children)
    out.metadata = None if metadata is None else ctypes.cast(c_char_p(metadata), c_void_p)
    out.children = ctypes.cast(pointers, POINTER(POINTER(_Schema))) if pointers is not None else None
    out.dictionary = ctypes.pointer(dictionary) if dictionary is not None else None
    out.private_data = _Owned.add((format_, name, metadata, children, pointers, dictionary))
    out.release = _release_schema


def _pairs(pairs: dict[str, str]) -> bytes | None:
    """Metadata as the interface has it: the number of pairs, then each key and value after its length, as int32."""
    if not pairs:
        return None
    texts = [t.encode("utf-8", "backslashreplace") for pair in pairs.items() for t in pair]
    numbers = np.array([len(pairs), *map(len, texts)], np.int32)
    parts = [n.tobytes() + t for n, t in zip(numbers[1:], texts, strict=True)]
    return b"".join([bytes(numbers[0].tobytes()), *parts])


def _field_schema(field: Field) -> _Schema:
    out, words = _Schema(), None
    if field.type.words:
        words = _Schema()
        _fill_schema(words, TEXT.format.encode(), b"")
    unit = _pairs({"unit": field.unit} if field.unit else {})
    _fill_schema(out, field.type.format.encode(), field.name.encode(), (), words, unit)
    return out


def _fill_table_schema(out: Any, schema: Schema) -> None:
    children = [_field_schema(f) for f in schema.fields]
    _fill_schema(out, _STRUCT, b"", children, None, _pairs(dict(schema.metadata)))


def _fill_array(
    out: Any,
    length: int,
    nulls: int,
    buffers: Sequence[NDArray[Any] | None],
    children: Sequence[_Array] = (),
    dictionary: _Array | None = None,
) -> None:
    places = (c_void_p * len(buffers))(*(None if b is None else b.ctypes.data for b in buffers))
    pointers = _pointers(children, _Array)
    out.length, out.null_count, out.offset = length, nulls, 0
    out.n_buffers, out.n_children = len(buffers), len(children)
    out.buffers = ctypes.cast(places, POINTER(c_void_p))
    out.children = ctypes.cast(pointers, POINTER(POINTER(_Array))) if pointers is not None else None
    out.dictionary = ctypes.pointer(dictionary) if dictionary is not None else None
    out.private_data = _Owned.add((buffers, places, children, pointers, dictionary))
    out.release = _release_array


def _bits(flags: NDArray[np.bool_]) -> NDArray[np.uint8]:
    return np.packbits(flags, bitorder="little")


def _texts(values: Sequence[Any] | NDArray[Any]) -> tuple[NDArray[np.int64], NDArray[np.uint8]]:
    """Texts or bytes as Arrow has them: the offset of each, and all of them in a row."""
    data = [b"" if v is None else v.encode("utf-8", "backslashreplace") if isinstance(v, str) else v for v in values]
    offsets = np.zeros(len(data) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, data), np.int64, len(data)), out=offsets[1:])
    return offsets, np.frombuffer(b"".join(data) or b"\0", np.uint8)


def _array(type_: Type, column: Column, length: int) -> _Array:
    """A column as an array. What is stored in the type's own form is not copied."""
    out, words = _Array(), None
    valid, nulls = None, 0
    if column.valid is not None:
        valid, nulls = _bits(column.valid), length - int(np.count_nonzero(column.valid))
    if type_.dtype is None:
        _fill_array(out, length, nulls, (valid, *_texts(column.values)))
        return out
    if type_.words:
        words = _Array()
        _fill_array(words, len(column.words), 0, (None, *_texts(column.words)))
    values = np.require(column.values, type_.dtype, ("C", "A"))
    if type_.dtype is np.bool_:
        values = _bits(values)
    _fill_array(out, length, nulls, (valid, values), (), words)
    return out


def _fill_batch(out: Any, schema: Schema, batch: Batch) -> None:
    columns = zip(schema.fields, batch.columns, strict=True)
    children = [_array(field.type, column, batch.length) for field, column in columns]
    _fill_array(out, batch.length, 0, (None,), children)


# -- streams -----------------------------------------------------------------------------------------------------------


class _Source:
    """What a stream gives: its schema, its batches one after the other, and what went wrong last."""

    def __init__(self, schema: Schema, batches: Batches) -> None:
        self.schema = schema
        self.batches = batches()
        self.said: Any = None

    def failed(self, error: BaseException) -> int:
        """Note an error for the reader. Gives the number that stands for it."""
        text = str(error) or type(error).__name__
        self.said = ctypes.create_string_buffer(text[:_MESSAGE_MAX].encode("utf-8", "backslashreplace"))
        return errno.ENOMEM if isinstance(error, MemoryError) else errno.EIO


def _source(address: int, kept: dict[int, Any] = _Owned.kept) -> Any:
    return kept[_Stream.from_address(address).private_data]


def _get_schema(stream: int, out: int) -> int:
    source = _source(stream)
    try:
        _fill_table_schema(_Schema.from_address(out), source.schema)
    except BaseException as error:  # nothing may unwind into the reader
        return int(source.failed(error))
    return 0


def _get_next(stream: int, out: int) -> int:
    source = _source(stream)
    array = _Array.from_address(out)
    try:
        batch = next(source.batches, None)
        if batch is None:  # the end: an array that is released
            ctypes.memset(out, 0, ctypes.sizeof(_Array))
        else:
            _fill_batch(array, source.schema, batch)
    except BaseException as error:
        return int(source.failed(error))
    return 0


def _last_error(stream: int) -> int | None:
    said = _source(stream).said
    return None if said is None else ctypes.addressof(said)


#: What each stream is given. They live as long as the module.
_CALLBACKS = (_GetSchema(_get_schema), _GetNext(_get_next), _LastError(_last_error), _release_stream)


# -- capsules ----------------------------------------------------------------------------------------------------------

_new_capsule = ctypes.PYFUNCTYPE(ctypes.py_object, c_void_p, c_char_p, c_void_p)(("PyCapsule_New", ctypes.pythonapi))
_capsules: list[tuple[Any, Any]] = []  # each with the structure in it
_HELD_HERE = 3  # references to a capsule that nobody else has: the tuple's, the loop's, and that of the count


def sweep(capsules: list[tuple[Any, Any]] = _capsules) -> None:
    """Drop the capsules that nobody else holds, and what is in them if no reader took it.

    Releasing can start a garbage collection, which calls this again: so each capsule is taken from the list first.
    """
    held = []
    while True:
        try:
            both = capsules.pop()
        except IndexError:
            break
        capsule, structure = both
        if sys.getrefcount(capsule) > _HELD_HERE:
            held.append(both)
            continue
        del capsule, both
        if structure.release:
            structure.release(ctypes.addressof(structure))
    capsules.extend(held)


def _on_collection(phase: str, _info: dict[str, int]) -> None:
    if phase == "stop":
        sweep()


def _capsule(structure: Structure, name: bytes) -> Any:
    sweep()
    if _on_collection not in gc.callbacks:
        gc.callbacks.append(_on_collection)
    capsule = _new_capsule(ctypes.addressof(structure), name, None)
    _capsules.append((capsule, structure))
    return capsule


def schema_capsule(schema: Schema) -> Any:
    """A PyCapsule "arrow_schema" of a table's schema."""
    out = _Schema()
    _fill_table_schema(out, schema)
    return _capsule(out, _SCHEMA_NAME)


def stream_capsule(schema: Schema, batches: Batches) -> Any:
    """A PyCapsule "arrow_array_stream" that gives these batches. Each call of ``batches`` begins anew.

    An error of ``batches`` reaches the reader as an error with the same text.
    """
    out = _Stream()
    out.get_schema, out.get_next, out.get_last_error, out.release = _CALLBACKS
    out.private_data = _Owned.add(_Source(schema, batches))
    return _capsule(out, _STREAM_NAME)


def alive() -> int:
    """How many structures are not released yet. It is 0 when every reader has given back what it took."""
    sweep()
    return len(_Owned.kept)
