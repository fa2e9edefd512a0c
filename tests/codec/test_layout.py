import numpy as np
import pytest
from construct import Byte, Bytes, Const, GreedyBytes, If, Int16ub, Int32ul, Int64ub, Struct

from xbrletools.codec.layout import dtype_of
from xbrletools.formats import qevm
from xbrletools.formats.dialects import DIALECTS


@pytest.mark.parametrize("endian", ["little", "big"])
@pytest.mark.parametrize("name", DIALECTS)
def test_a_dtype_reads_a_delta_header_as_construct_does(name: str, endian: str) -> None:
    grammar = DIALECTS[name].header(endian)
    layout = dtype_of(grammar)
    assert layout.itemsize == grammar.sizeof()
    raw = np.random.default_rng(7).integers(0, 256, (50, layout.itemsize), np.uint8)
    for record, parsed in zip(raw.view(layout)[:, 0], (grammar.parse(r.tobytes()) for r in raw), strict=True):
        assert {n: int(record[n]) for n in layout.names} == {n: parsed[n] for n in layout.names}


def test_const_nested_and_byte_fields_have_layouts() -> None:
    grammar = Struct("magic" / Const(7, Int16ub), "in" / Struct("a" / Int64ub, "b" / Int32ul), "id" / Bytes(3))
    layout = dtype_of(grammar)
    value = np.frombuffer(bytes([0, 7]) + bytes(range(12)) + b"xyz", layout)[0]
    assert layout.itemsize == 17
    assert (value["magic"], value["in"]["a"], value["in"]["b"]) == (7, 0x0001020304050607, 0x0B0A0908)
    assert value["id"].tobytes() == b"xyz"
    assert dtype_of(qevm.Footer).itemsize == 5


@pytest.mark.parametrize(
    ("grammar", "why"),
    [
        (qevm.IdStr, "does not"),
        (Struct("name" / qevm.IdStr), "'name'.*fixed layout"),
        (Struct("rest" / GreedyBytes), "'rest'.*fixed layout"),
        (Struct("a" / Byte, "b" / If(lambda c: c.a, Byte)), "'b'.*fixed layout"),
        (Struct("a" / Byte, "b" / Bytes(lambda c: c.a)), "'b'.*fixed layout"),
        (Struct(Byte), "unnamed"),
    ],
)
def test_what_has_no_fixed_layout_is_a_type_error(grammar: object, why: str) -> None:
    with pytest.raises(TypeError, match=why):
        dtype_of(grammar)


@pytest.mark.parametrize("number", [Byte, Int16ub, Int32ul, Int64ub])
def test_a_number_has_a_layout_of_its_own(number: object) -> None:
    raw = bytes(range(1, 1 + number.sizeof()))
    assert int(np.frombuffer(raw, dtype_of(number))[0]) == number.parse(raw)
